#pragma once

/// Everything an embedder needs: describe an image, make a chain, push rows.
#include "skipstream/base/error.hpp"
#include "skipstream/base/image.hpp"
#include "skipstream/base/mask.hpp"
#include "skipstream/pipeline/pipeline.hpp"
#include "skipstream/version.hpp"
