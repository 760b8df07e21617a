#include "skipstream/pipeline/workers.hpp"

#include <utility>

namespace skipstream {

Workers::Workers(std::size_t n_threads) {
  for (std::size_t worker = 1; worker < n_threads; ++worker) {
    threads_.emplace_back([this, worker] { serve(worker); });
  }
}

Workers::~Workers() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    next_ = n_tasks_;
  }
  wake_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void Workers::start(std::int64_t n_tasks, const Task& task) {
  {
    const std::lock_guard lock(mutex_);
    task_ = &task;
    next_ = 0;
    n_done_ = 0;
    n_tasks_ = n_tasks;
  }
  wake_.notify_all();
}

void Workers::wait() {
  std::unique_lock lock(mutex_);
  work(0, lock);
  done_.wait(lock, [this] { return n_done_ == n_tasks_; });
  task_ = nullptr;
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void Workers::serve(std::size_t worker) {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || next_ < n_tasks_; });
    if (stopping_) return;
    work(worker, lock);
  }
}

void Workers::work(std::size_t worker, std::unique_lock<std::mutex>& lock) {
  while (next_ < n_tasks_) {
    const std::int64_t task = next_++;
    const Task& run = *task_;
    lock.unlock();
    std::exception_ptr failure;
    try {
      run(task, worker);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    if (failure && !failure_) {
      failure_ = failure;
      n_done_ += n_tasks_ - next_;  // the rest is not worth doing
      next_ = n_tasks_;
    }
    if (++n_done_ == n_tasks_) done_.notify_all();
  }
}

}  // namespace skipstream
