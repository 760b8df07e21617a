#pragma once

#include <stdexcept>
#include <string>

namespace skipstream {

/// Anything that the library refuses to do. The text says where, what, and what would be right.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A configuration that cannot be carried out.
class ConfigError : public Error {
 public:
  using Error::Error;
};

/// A file that is not what the FITS standard or its own header says.
class FitsError : public Error {
 public:
  using Error::Error;
};

/// Bytes that are not the packets of a board.
class PacketError : public Error {
 public:
  using Error::Error;
};

/// The operating system refused to read or write.
class IoError : public Error {
 public:
  using Error::Error;
};

}  // namespace skipstream
