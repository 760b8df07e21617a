// System calls that fail, are interrupted or do less than they are asked for, one by one. The
// linker puts the functions below between the library and the system (--wrap).

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <future>
#include <mutex>
#include <queue>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "check.hpp"
#include "skipstream/base/error.hpp"
#include "skipstream/io/byte_source.hpp"
#include "skipstream/io/plane_writer.hpp"
#include "skipstream/pipeline/row_queue.hpp"
#include "skipstream/pipeline/spool.hpp"

namespace {

/// What happens to a call: an error; or, without one, another result or a limit of bytes.
struct Fault {
  int error = 0;
  std::int64_t value = 0;
};

/// The faults of the next calls of a function.
class Faults {
 public:
  void expect(const std::vector<Fault>& faults) {
    const std::scoped_lock lock(mutex_);
    for (const Fault& fault : faults) coming_.push(fault);
  }
  bool next(Fault& fault) {
    const std::scoped_lock lock(mutex_);
    if (coming_.empty()) return false;
    fault = coming_.front();
    coming_.pop();
    errno = fault.error;
    return true;
  }
  [[nodiscard]] bool all_came() {
    const std::scoped_lock lock(mutex_);
    return coming_.empty();
  }

 private:
  std::mutex mutex_;
  std::queue<Fault> coming_;
};

Faults preads, pwrites, fallocates, ftruncates, fsyncs, closes, fstats, stats, lseeks;

constexpr Fault none{0, INT64_MAX};  ///< for calls of which a limit is no fault

}  // namespace

extern "C" {
ssize_t __real_pread(int file, void* to, std::size_t n, off_t offset);
ssize_t __real_pwrite(int file, const void* from, std::size_t n, off_t offset);
int __real_fallocate(int file, int mode, off_t offset, off_t n);
int __real_ftruncate(int file, off_t n);
int __real_fsync(int file);
int __real_close(int file);
int __real_fstat(int file, struct stat* status);
int __real_stat(const char* path, struct stat* status);
off_t __real_lseek(int file, off_t offset, int from);

ssize_t __wrap_pread(int file, void* to, std::size_t n, off_t offset) {
  Fault fault = none;
  if (preads.next(fault) && fault.error != 0) return -1;
  return __real_pread(file, to, std::min(n, static_cast<std::size_t>(fault.value)), offset);
}
ssize_t __wrap_pwrite(int file, const void* from, std::size_t n, off_t offset) {
  Fault fault = none;
  if (pwrites.next(fault) && fault.error != 0) return -1;
  return __real_pwrite(file, from, std::min(n, static_cast<std::size_t>(fault.value)), offset);
}
int __wrap_fallocate(int file, int mode, off_t offset, off_t n) {
  Fault fault;
  return fallocates.next(fault) ? -1 : __real_fallocate(file, mode, offset, n);
}
int __wrap_ftruncate(int file, off_t n) {
  Fault fault;
  return ftruncates.next(fault) ? -1 : __real_ftruncate(file, n);
}
int __wrap_fsync(int file) {
  Fault fault;
  return fsyncs.next(fault) ? -1 : __real_fsync(file);
}
int __wrap_close(int file) {
  const int result = __real_close(file);  // it closes, whatever it says
  Fault fault;
  return closes.next(fault) ? -1 : result;
}
int __wrap_fstat(int file, struct stat* status) {
  Fault fault;
  return fstats.next(fault) ? -1 : __real_fstat(file, status);
}
int __wrap_stat(const char* path, struct stat* status) {
  const int result = __real_stat(path, status);
  Fault fault;
  if (stats.next(fault)) status->st_dev += 1;
  return result;
}
off_t __wrap_lseek(int file, off_t offset, int from) {
  Fault fault;
  if (!lseeks.next(fault)) return __real_lseek(file, offset, from);
  return fault.error != 0 ? -1 : fault.value;
}
}

using namespace skipstream;

namespace {

std::string path_of(const char* name) {
  return "/tmp/skipstream_test_faults_" + std::to_string(getpid()) + name;
}

std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {(std::istreambuf_iterator<char>(file)), {}};
}

void all_faults_came(check::Place where = check::Place::current()) {
  for (Faults* faults :
       {&preads, &pwrites, &fallocates, &ftruncates, &fsyncs, &closes, &fstats, &stats, &lseeks}) {
    check::that(faults->all_came(), "a fault that was expected did not come", where);
  }
}

void a_file_is_read_whole_or_not_at_all() {
  const std::string path = path_of("read");
  std::ofstream(path) << "abcdefghij";
  const FileSource source(path);
  const auto read = [&] {
    std::string text(8, ' ');
    source.read(1, std::as_writable_bytes(std::span(text)));
    return text;
  };
  preads.expect({{EINTR}, {0, 3}, {EINTR}, {0, 1}});
  check::equal(read(), std::string("bcdefghi"), "interrupted, and in parts");
  preads.expect({{0, 3}, {EIO}});
  check::throws<IoError>([&] { read(); }, "read: cannot read: Input/output error");
  preads.expect({{0, 3}, {0, 0}});
  check::throws<FitsError>([&] { read(); }, "the file ends at 4");
  all_faults_came();
  std::filesystem::remove(path);
}

void a_file_that_cannot_be_looked_at_is_refused() {
  const std::string path = path_of("status");
  std::ofstream(path) << std::string(20'000, 'x');
  const auto size = [&] { return FileSource(path).size(); };
  fstats.expect({{EIO}});
  check::throws<IoError>([&] { size(); }, "must be a regular file");
  // The system does not know of holes: the file ends where it says.
  lseeks.expect({{EINVAL}});
  check::equal(size(), std::int64_t{20'000});
  lseeks.expect({{ENXIO}, {EIO}});
  check::throws<IoError>([&] { size(); }, "cannot find its end: Input/output error");
  lseeks.expect({{ENXIO}, {0, 0}, {EIO}});
  check::throws<IoError>([&] { size(); }, "cannot find its end: Input/output error");
  lseeks.expect({{ENXIO}, {0, 0}, {0, 5000}, {ENXIO}});
  check::equal(size(), std::int64_t{5000}, "a hole from there on");
  lseeks.expect({{ENXIO}, {0, 0}, {0, 5000}, {ENXIO}});
  preads.expect({{0, 100}});
  check::throws<IoError>([&] { size(); }, "cannot read its end");

  const FileSource source(path);
  source.check_unchanged();
  fstats.expect({{EIO}});
  check::throws<IoError>([&] { source.check_unchanged(); }, "the file changed");
  stats.expect({{0}});
  check::throws<IoError>([&] { source.check_unchanged(); }, "was replaced");
  all_faults_came();
  std::filesystem::remove(path);
}

/// Writes an image of 6 pixels, and its header.
void write_image(const std::string& path) {
  const std::array<double, 6> values{1, 2, 3, 4, 5, 6};
  PlaneWriter writer(path);
  const auto image = writer.add_image(2880, PixelFormat::float32, 2, 3);
  writer.write_rows(image, values.data(), 2);
  writer.write_header(image, std::string(2880, ' '));
  writer.close();
}

void a_plane_is_written_whole_or_an_error_says_why() {
  const std::string path = path_of("planes");
  write_image(path);
  const std::string expected = content_of(path);
  check::equal(expected.size(), std::size_t{5760});
  const auto written = [&] {
    std::filesystem::remove(path);
    write_image(path);
    return content_of(path);
  };
  pwrites.expect({{EINTR}, {0, 5}, {EINTR}, {0, 1}});
  check::that(written() == expected, "interrupted, and in parts");
  fallocates.expect({{EINTR}, {EINTR}});
  check::that(written() == expected, "room after all");
  for (const int error : {EOPNOTSUPP, ENOSYS}) {
    fallocates.expect({{error}});
    check::that(written() == expected, "a system that does not make room");
  }
  for (const int error : {ENOSPC, EDQUOT, EFBIG}) {
    const std::string why = std::string("planes: cannot write: ") + std::strerror(error);
    fallocates.expect({{error}});
    check::throws<IoError>([&] { written(); }, why);
    ftruncates.expect({{error}});
    check::throws<IoError>([&] { written(); }, why);
    pwrites.expect({{0, 5}, {error}});
    check::throws<IoError>([&] { written(); }, why);
  }
  pwrites.expect({{0, 0}});
  check::throws<IoError>([&] { written(); }, "cannot write: No space left");
  fsyncs.expect({{EIO}});
  check::throws<IoError>([&] { written(); }, "cannot write: Input/output error");
  closes.expect({{EDQUOT}});
  check::throws<IoError>([&] { written(); }, "cannot write: Disk quota exceeded");
  all_faults_came();
  std::filesystem::remove(path);
}

/// Rows of 4 pixels through a spool without memory; what comes back.
std::vector<double> spooled(std::int64_t n_rows) {
  std::vector<double> values(static_cast<std::size_t>(4 * n_rows));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i) / 3;
  std::vector<std::uint32_t> mask(values.size(), 7);
  double* plane = values.data();
  Spool spool(1, 4, 2, 0, -1, "/tmp");
  spool.append({{&plane, 1}, mask.data(), 0, n_rows, 4});
  std::vector<double> found;
  spool.replay([&](PixelChunk& chunk) {
    found.insert(found.end(), chunk.planes[0], chunk.planes[0] + 4 * chunk.n_rows);
    for (const auto bits : chunk.mask_row(0)) check::equal(bits, 7U);
  });
  check::that(found == values, "the rows that went in");
  return found;
}

void a_spool_leaves_no_name() {
  const auto folder = std::filesystem::temp_directory_path() / "skipstream-test-spool";
  std::filesystem::create_directory(folder);
  double value = 1.5;
  double* plane = &value;
  std::uint32_t mask = 0;
  Spool spool(1, 1, 2, 0, -1, folder.string());
  spool.append({{&plane, 1}, &mask, 0, 1, 1});
  check::that(std::filesystem::is_empty(folder));
  std::filesystem::remove_all(folder);
}

void rows_come_back_from_a_spool_or_an_error_says_why() {
  pwrites.expect({{EINTR}, {0, 5}, {EINTR}, {0, 1}});
  preads.expect({{EINTR}, {0, 5}, {EINTR}, {0, 1}});
  check::equal(spooled(3).size(), std::size_t{12}, "interrupted, and in parts");
  pwrites.expect({{0, 5}, {ENOSPC}});
  check::throws<IoError>([&] { spooled(3); }, "/tmp: cannot spool rows: No space left");
  pwrites.expect({{EINTR}, {0, 0}});
  check::throws<IoError>([&] { spooled(3); }, "/tmp: cannot spool rows");
  preads.expect({{EIO}});
  check::throws<IoError>([&] { spooled(3); }, "/tmp: cannot read spooled rows back");
  preads.expect({{0, 7}, {0, 0}});
  check::throws<IoError>([&] { spooled(3); }, "/tmp: cannot read spooled rows back");
  all_faults_came();
}

/// 3 pushes of 4 bytes, of which the last two find no room in memory.
struct Queued {
  std::string came;
  QueueState state;
};

Queued queued() {
  Queued result;
  std::promise<void> begun;
  std::promise<void> gate;
  bool is_first = true;
  QueueSink sink;
  sink.push = [&](std::span<const std::byte> samples) {
    if (std::exchange(is_first, false)) {
      begun.set_value();
      gate.get_future().wait();
    }
    for (const std::byte sample : samples) result.came += static_cast<char>(sample);
  };
  sink.push_lost = [&](std::int64_t n) {
    result.came += std::string(static_cast<std::size_t>(n), '?');
  };
  sink.finish = [&] { result.came += '.'; };
  RowQueue queue(sink, 1, {.policy = QueuePolicy::spill, .max_bytes = 4, .spill_folder = "/tmp"});
  queue.push(std::as_bytes(std::span("abcd", 4)));
  begun.get_future().wait();
  queue.push(std::as_bytes(std::span("efgh", 4)));
  queue.push(std::as_bytes(std::span("ijkl", 4)));
  gate.set_value();
  queue.finish();
  result.state = queue.state();
  return result;
}

void a_queue_that_cannot_use_its_file_loses_samples_in_their_place_or_ends() {
  check::equal(queued().came, std::string("abcdefghijkl."));
  pwrites.expect({{EINTR}, {0, 3}, {EINTR}});
  preads.expect({{EINTR}, {0, 5}, {EINTR}});
  const Queued good = queued();
  check::equal(good.came, std::string("abcdefghijkl."), "interrupted, and in parts");
  check::equal(good.state.spilled_bytes, std::int64_t{8});
  for (const Fault& fault : {Fault{ENOSPC}, Fault{0, 0}}) {
    pwrites.expect({fault});
    const Queued lost = queued();
    check::equal(lost.came.substr(0, 8), std::string("abcd????"));
    check::equal(lost.came.substr(8), std::string("ijkl."));
    check::equal(lost.state.dropped_samples, std::int64_t{4});
  }
  for (const Fault& fault : {Fault{EIO}, Fault{0, 0}}) {
    preads.expect({fault});
    check::throws<IoError>([&] { queued(); }, "the temporary file cannot be read back");
  }
  ftruncates.expect({{EIO}});
  check::throws<IoError>([&] { queued(); }, "the temporary file cannot be emptied");
  all_faults_came();
}

}  // namespace

int main() {
  a_file_is_read_whole_or_not_at_all();
  a_file_that_cannot_be_looked_at_is_refused();
  a_plane_is_written_whole_or_an_error_says_why();
  a_spool_leaves_no_name();
  rows_come_back_from_a_spool_or_an_error_says_why();
  a_queue_that_cannot_use_its_file_loses_samples_in_their_place_or_ends();
  return check::failures();
}
