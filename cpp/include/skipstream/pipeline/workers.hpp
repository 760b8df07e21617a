#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace skipstream {

/// A few threads that share numbered tasks with the thread that owns them.
///
/// `start` hands out tasks and returns at once; `wait` lends the caller's thread to what is left
/// and returns when all are done, rethrowing the first exception. With one thread everything runs
/// in `wait`, and no thread is made.
class Workers {
 public:
  using Task = std::function<void(std::int64_t task, std::size_t worker)>;

  explicit Workers(std::size_t n_threads);
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  /// `task` must stay valid until `wait` returns.
  void start(std::int64_t n_tasks, const Task& task);
  void wait();

 private:
  void serve(std::size_t worker);
  /// Runs tasks until none is left; `lock` is held on entry and exit.
  void work(std::size_t worker, std::unique_lock<std::mutex>& lock);

  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable done_;
  const Task* task_ = nullptr;
  std::int64_t next_ = 0;
  std::int64_t n_tasks_ = 0;
  std::int64_t n_done_ = 0;
  bool stopping_ = false;
  std::exception_ptr failure_;
  std::vector<std::thread> threads_;
};

}  // namespace skipstream
