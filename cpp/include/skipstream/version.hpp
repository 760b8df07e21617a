#pragma once

/// The one place where the version is written; CMake, the wheel and Python read it here.
#define SKIPSTREAM_VERSION "0.1.0"
