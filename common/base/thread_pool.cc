#include "common/base/thread_pool.h"

#include <pthread.h>
#include <sched.h>
#include <xmmintrin.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <system_error>
#include <thread>
#include <vector>

#include "common/base/check.h"

namespace tandem {
namespace {

// Longer than the gaps between the operations of one step (a few microseconds), shorter than what
// another rank on these cores would miss.
constexpr std::chrono::microseconds kSpinTime(20);

// The CPUs that this thread may run on.
std::vector<int> UsableCpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cpus;
  if (pthread_getaffinity_np(pthread_self(), sizeof set, &set) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
    }
  }
  return cpus;
}

void Pin(std::thread& thread, int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  // A refusal (a CPU that went offline) costs speed alone.
  pthread_setaffinity_np(thread.native_handle(), sizeof set, &set);
}

// Returns when value != old: spins for a moment, then sleeps.
void WaitWhileEqual(const std::atomic<int>& value, int old, bool spin) {
  if (spin) {
    const auto deadline = std::chrono::steady_clock::now() + kSpinTime;
    do {
      for (int i = 0; i < 64; ++i) {
        if (value.load() != old) return;
        _mm_pause();
      }
    } while (std::chrono::steady_clock::now() < deadline);
  }
  value.wait(old);  // A futex; returns only when the value has changed.
}

}  // namespace

void SetComputeFloatMode() {
  constexpr unsigned kRounding = 0x6000, kFlushToZero = 0x8000, kDenormalsAreZero = 0x0040;
  _mm_setcsr((_mm_getcsr() & ~kRounding) | kFlushToZero | kDenormalsAreZero);
}

// `round` counts the calls of Run; `running` the members (the caller aside) that have not finished
// this one. Both are written by read-modify-writes alone, so that a member about to sleep and the
// one that wakes it cannot miss each other.
struct ThreadPool::State {
  int num_threads = 1;
  bool spin = false;
  const absl::FunctionRef<void(int)>* body = nullptr;  // Null: the team ends.
  bool in_run = false;
  alignas(64) std::atomic<int> round{0};
  alignas(64) std::atomic<int> running{0};
  std::vector<std::thread> threads;

  void Start() {
    running.fetch_add(num_threads - 1);
    round.fetch_add(1);
    round.notify_all();
  }

  void Work(int thread) {
    SetComputeFloatMode();
    for (int seen = 0;;) {
      WaitWhileEqual(round, seen, spin);
      seen = round.load();  // Run waits for everyone, so no round is skipped.
      if (body == nullptr) return;
      (*body)(thread);
      if (running.fetch_sub(1) == 1) running.notify_one();
    }
  }
};

ThreadPool::ThreadPool(int num_threads, bool pin) : state_(std::make_unique<State>()) {
  TANDEM_CHECK(num_threads >= 1);
  SetComputeFloatMode();
  State& state = *state_;
  const std::vector<int> cpus = UsableCpus();
  const bool enough = static_cast<size_t>(num_threads) <= cpus.size();
  state.num_threads = num_threads;
  state.spin = enough;
  state.threads.reserve(static_cast<size_t>(num_threads) - 1);
  for (int i = 1; i < num_threads; ++i) {
    try {
      state.threads.emplace_back([&state, i] { state.Work(i); });
    } catch (const std::system_error&) {
      TANDEM_CHECK(false &&
                   "the system refuses another thread: lower --threads or raise ulimit -u");
    }
    if (pin && enough) {
      Pin(state.threads.back(), cpus[static_cast<size_t>(i) % cpus.size()]);
    }
  }
}

ThreadPool::~ThreadPool() {
  state_->body = nullptr;
  if (state_->num_threads > 1) state_->Start();
  for (std::thread& thread : state_->threads) thread.join();
}

int ThreadPool::num_threads() const { return state_->num_threads; }

void ThreadPool::Run(absl::FunctionRef<void(int thread)> body) {
  State& state = *state_;
  TANDEM_DCHECK(!state.in_run);
  state.in_run = true;
  if (state.num_threads == 1) {
    body(0);
  } else {
    state.body = &body;
    state.Start();
    body(0);
    for (int left = state.running.load(); left != 0; left = state.running.load()) {
      WaitWhileEqual(state.running, left, state.spin);
    }
    state.body = nullptr;
  }
  state.in_run = false;
}

void ThreadPool::ParallelFor(int64_t count, int64_t grain,
                             absl::FunctionRef<void(int64_t begin, int64_t end, int thread)> body) {
  TANDEM_DCHECK(count >= 0 && grain >= 1);
  if (count <= 0) return;
  const int64_t units = (count + grain - 1) / grain;
  if (units == 1 || state_->num_threads == 1) {  // Wakes nobody.
    body(0, count, 0);
    return;
  }
  const int64_t least = units / state_->num_threads, longer = units % state_->num_threads;
  Run([&](int thread) {
    const int64_t first = thread * least + std::min<int64_t>(thread, longer);
    const int64_t last = first + least + (thread < longer ? 1 : 0);
    if (first < last) body(first * grain, std::min(count, last * grain), thread);
  });
}

}  // namespace tandem
