#pragma once

/// Everything an embedder needs: read a config, describe an image, push rows.
#include "skipstream/base/arena.hpp"
#include "skipstream/base/error.hpp"
#include "skipstream/base/image.hpp"
#include "skipstream/base/mask.hpp"
#include "skipstream/pipeline/load_config.hpp"
#include "skipstream/pipeline/pipeline.hpp"
#include "skipstream/pipeline/row_queue.hpp"
#include "skipstream/version.hpp"
