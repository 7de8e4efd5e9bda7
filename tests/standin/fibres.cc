#include "standin/fibres.h"

#include <sys/mman.h>

#include <array>
#include <bit>
#include <cstdio>
#include <memory>
#include <utility>
#include <vector>

#include "standin/dice.h"
#include "standin/standin.h"

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace packhorse::standin {

ThreadPlace* current_thread = nullptr;
BlockPlace current_block;

namespace {

// ---- Changing the stack ---------------------------------------------------------------------------------------------

constexpr size_t kPage = 4096, kStack = 64 << 10;

#if defined(__x86_64__)

// swapcontext makes a system call for each switch, to save the signal mask. This one saves what a called function has
// to keep, and no more.
asm(R"(
  .text
  .p2align 4
  .type packhorse_standin_switch, @function
packhorse_standin_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size packhorse_standin_switch, .-packhorse_standin_switch
)");
extern "C" void packhorse_standin_switch(void** from, void* to);

/// Where a stack was left.
struct Context {
  void* top = nullptr;
};
void change(Context& from, const Context& to) { packhorse_standin_switch(&from.top, to.top); }
/// As if it had been left before the first line of `entry`.
Context fresh(std::byte* stack, size_t bytes, void (*entry)()) {
  constexpr size_t kSaved = 6;  // registers, all zero; then where to return to, then nothing to return to from there
  auto* top = reinterpret_cast<void**>(stack + bytes) - kSaved - 2;
  for (size_t i = 0; i < kSaved + 2; ++i) top[i] = nullptr;
  top[kSaved] = reinterpret_cast<void*>(entry);
  return {top};
}

#else

struct Context {
  std::unique_ptr<ucontext_t> state = std::make_unique<ucontext_t>();
};
void change(Context& from, const Context& to) { swapcontext(from.state.get(), to.state.get()); }
Context fresh(std::byte* stack, size_t bytes, void (*entry)()) {
  Context context;
  getcontext(context.state.get());
  context.state->uc_stack.ss_sp = stack;
  context.state->uc_stack.ss_size = bytes;
  context.state->uc_link = nullptr;
  makecontext(context.state.get(), entry, 0);
  return context;
}

#endif

/// Stacks, each above a page that cannot be touched. They are never given back: the next kernel takes them.
class Stacks {
 public:
  size_t take() {
    if (idle_.empty()) add();
    const size_t stack = idle_.back();
    idle_.pop_back();
    return stack;
  }
  void give(size_t stack) { idle_.push_back(stack); }
  std::byte* at(size_t stack) const { return stacks_[stack] + kPage; }
  /// They begin at different places of their pages: else all of a block's threads would want the same lines of a cache.
  static size_t bytes(size_t stack) {
    constexpr size_t kApart = 320, kPlaces = 48;
    return kStack - stack % kPlaces * kApart;
  }
  bool in_guard(const std::byte* address) const {
    for (const std::byte* stack : stacks_)
      if (address >= stack && address < stack + kPage) return true;
    return false;
  }

 private:
  void add() {
    constexpr size_t kAtOnce = 32;
    constexpr size_t kEach = kPage + kStack;
    void* mapped =
        mmap(nullptr, kAtOnce * kEach, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) abort_with("no memory for the stacks of fibres");
    for (size_t i = kAtOnce; i-- > 0;) {
      std::byte* stack = static_cast<std::byte*>(mapped) + i * kEach;
      mprotect(stack, kPage, PROT_NONE);
      idle_.push_back(stacks_.size());
      stacks_.push_back(stack);
    }
  }

  std::vector<std::byte*> stacks_;
  std::vector<size_t> idle_;
};

// ---- A block --------------------------------------------------------------------------------------------------------

struct Thread {
  ThreadPlace place;
  Context context;
  const char* waits_in = nullptr;  ///< of a thread that waits
  unsigned mask = 0;               ///< 0 at the block's barrier
  uint64_t given = 0, taken = 0;
  unsigned source = 0;
};

/// Lanes that wait for each other.
struct Meeting {
  const char* what;
  unsigned mask, arrived;
};

struct Warp {
  unsigned exited = 0;
  std::vector<Meeting> meetings;
};

/// All that there is of the kernel that runs.
struct Machine {
  const KernelRun* run = nullptr;
  Dice dice{0};
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  DrawnOrder order;            ///< of the threads that have not begun
  std::vector<Thread*> ready;  ///< may go on
  std::vector<Thread*> at_barrier;
  unsigned count = 0, exited = 0;
  size_t stack = 0;  ///< for the fibre that begins
  Stacks stacks;
  Context home;
};

Machine& machine() {
  static auto* it = new Machine;  // an exit handler may still run kernels
  return *it;
}

Thread& self() { return machine().threads[current_thread->rank]; }
Warp& warp_of(const Thread& thread) { return machine().warps[thread.place.rank / kWarp]; }

/// Hands on to whoever is ready.
void park(Thread& thread) { change(thread.context, machine().home); }

/// One thread after the other. Where one waits, the fibre stays behind with it and goes on from there.
void fibre() {
  Machine& m = machine();
  const size_t stack = m.stack;
  while (!m.order.empty()) {
    Thread& thread = m.threads[m.order.next()];
    current_thread = &thread.place;
    m.run->call(m.run->arguments);
    m.warps[current_thread->rank / kWarp].exited |= 1U << current_thread->rank % kWarp;
    ++m.exited;
  }
  m.stacks.give(stack);
  Context nobody;
  change(nobody, m.home);
}

std::string text(const uint3& at) {
  return "(" + std::to_string(at.x) + ", " + std::to_string(at.y) + ", " + std::to_string(at.z) + ")";
}

std::string hex(unsigned mask) {
  std::array<char, 16> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "0x%08x", mask);
  return buffer.data();
}

std::string wait_text(const Thread& thread) {
  std::string wait = thread.waits_in;
  if (thread.mask != 0) wait += "(" + hex(thread.mask) + ")";
  return wait;
}

/// Nobody can go on, and not all have ended.
[[noreturn]] void report_stuck() {
  const Machine& m = machine();
  const Thread* first = nullptr;
  const Thread* other = nullptr;  // waits for something else
  for (unsigned i = 0; i < m.count; ++i) {
    const Thread& thread = m.threads[i];
    if (thread.waits_in == nullptr) continue;
    if (first == nullptr) first = &thread;
    if (thread.waits_in != first->waits_in || thread.mask != first->mask) other = &thread;
  }
  std::string message = first->mask == 0 ? "incomplete barrier: " : "lanes that never come: ";
  message += "kernel " + m.run->name + ", block " + text(current_block.index) + ": thread " + text(first->place.index) +
             " waits in " + wait_text(*first);
  if (other != nullptr) message += ", thread " + text(other->place.index) + " in " + wait_text(*other);
  if (m.exited != 0) message += ", " + std::to_string(m.exited) + " of " + std::to_string(m.count) + " have exited";
  for (unsigned i = 0; i < m.count; ++i) {
    if ((m.warps[i / kWarp].exited >> i % kWarp & 1) == 0) continue;
    message += ", the first of them " + text(m.threads[i].place.index);
    break;
  }
  abort_with(message);
}

void run_block() {
  Machine& m = machine();
  m.order = DrawnOrder(m.dice, m.count);
  m.exited = 0;
  for (Warp& warp : m.warps) warp.exited = 0;
  while (true) {
    const size_t choices = m.ready.size() + (m.order.empty() ? 0 : 1);
    if (choices == 0) break;
    const size_t pick = m.dice.below(choices);
    if (pick == m.ready.size()) {
      m.stack = m.stacks.take();
      change(m.home, fresh(m.stacks.at(m.stack), Stacks::bytes(m.stack), fibre));
    } else {
      Thread* thread = std::exchange(m.ready[pick], m.ready.back());
      m.ready.pop_back();
      current_thread = &thread->place;
      change(m.home, thread->context);
    }
    current_thread = nullptr;
  }
  if (m.exited != m.count) report_stuck();
}

/// All lanes of the mask have given what they have to: each takes its part.
void complete(Warp& warp, Thread* lanes, const Meeting& meeting) {
  Machine& m = machine();
  for (unsigned rest = meeting.mask; rest != 0; rest &= rest - 1) {
    Thread& lane = lanes[std::countr_zero(rest)];
    lane.taken = lanes[lane.source].given;
  }
  for (unsigned rest = meeting.mask; rest != 0; rest &= rest - 1) {
    Thread& lane = lanes[std::countr_zero(rest)];
    lane.waits_in = nullptr;
    m.ready.push_back(&lane);
  }
  std::erase_if(warp.meetings,
                [&](const Meeting& other) { return other.mask == meeting.mask && other.what == meeting.what; });
}

[[noreturn]] void refuse(const Thread& thread, const std::string& message) {
  abort_with(place() + ": " + wait_text(thread) + ": " + message);
}

/// Waits until all lanes of the mask are in the same operation. Returns what the lane `source` has given.
uint64_t meet(const char* what, unsigned mask, uint64_t given, unsigned source) {
  Machine& m = machine();
  Thread& thread = self();
  Warp& warp = warp_of(thread);
  const unsigned lane = thread.place.rank % kWarp, first = thread.place.rank - lane;
  const unsigned lanes = std::min(kWarp, m.count - first);
  const unsigned there = lanes == kWarp ? 0xffffffffU : (1U << lanes) - 1;
  thread.waits_in = what;
  thread.mask = mask;
  if ((mask >> lane & 1) == 0) refuse(thread, "the mask is without the lane that calls");
  if ((mask & ~there) != 0) refuse(thread, "the warp has only " + std::to_string(lanes) + " lanes");
  if ((mask & warp.exited) != 0) refuse(thread, "lanes " + hex(mask & warp.exited) + " have exited");
  if ((mask >> source & 1) == 0) {
    refuse(thread, "reads lane " + std::to_string(source) + ", which is not in the mask");
  }
  thread.given = given;
  thread.source = source;
  auto meeting = warp.meetings.begin();
  while (meeting != warp.meetings.end() && (meeting->mask != mask || meeting->what != what)) ++meeting;
  if (meeting == warp.meetings.end()) meeting = warp.meetings.insert(meeting, {what, mask, 0});
  meeting->arrived |= 1U << lane;
  if (meeting->arrived == mask) complete(warp, &m.threads[first], Meeting(*meeting));
  park(thread);
  return thread.taken;
}

}  // namespace

void sync_threads() {
  Machine& m = machine();
  Thread& thread = self();
  thread.waits_in = "__syncthreads";
  thread.mask = 0;
  m.at_barrier.push_back(&thread);
  if (m.at_barrier.size() == m.count) {
    for (Thread* one : m.at_barrier) one->waits_in = nullptr;
    m.ready.insert(m.ready.end(), m.at_barrier.begin(), m.at_barrier.end());
    m.at_barrier.clear();
  }
  park(thread);
}

void sync_warp(unsigned mask) { meet("__syncwarp", mask, 0, current_thread->rank % kWarp); }

unsigned ballot(unsigned mask, bool vote) {
  // Each lane gives its vote, and asks all others for theirs.
  static constexpr const char* kWhat = "a vote (__ballot_sync, __any_sync, __all_sync)";
  unsigned votes = 0;
  const unsigned lane = current_thread->rank % kWarp;
  Thread* lanes = &machine().threads[current_thread->rank - lane];
  meet(kWhat, mask, vote ? 1U : 0U, lane);
  for (unsigned rest = mask; rest != 0; rest &= rest - 1) {
    const int other = std::countr_zero(rest);
    if (lanes[other].taken != 0) votes |= 1U << other;
  }
  meet(kWhat, mask, 0, lane);  // nobody goes on to its next operation before all have counted
  return votes;
}

uint64_t shuffle(unsigned mask, uint64_t bits, unsigned source, const char* what) {
  return meet(what, mask, bits, source);
}

void run_kernel(const KernelRun& run) {
  Machine& m = machine();
  m.run = &run;
  m.dice = Dice(run.seed);
  m.count = run.threads.x * run.threads.y * run.threads.z;
  m.threads.resize(m.count);
  m.warps.assign((m.count + kWarp - 1) / kWarp, {});
  for (unsigned i = 0; i < m.count; ++i) {
    m.threads[i].place = {{i % run.threads.x, i / run.threads.x % run.threads.y, i / run.threads.x / run.threads.y}, i};
    m.threads[i].waits_in = nullptr;
  }
  current_block.threads = run.threads;
  current_block.grid = run.grid;
  DrawnOrder blocks(m.dice, uint64_t{run.grid.x} * run.grid.y * run.grid.z);
  while (!blocks.empty()) {
    const uint64_t block = blocks.next();
    const uint64_t row = block / run.grid.x;
    current_block.index = {static_cast<unsigned>(block % run.grid.x), static_cast<unsigned>(row % run.grid.y),
                           static_cast<unsigned>(row / run.grid.y)};
    run.before_block();
    run_block();
    run.after_block();
  }
  m.run = nullptr;
}

std::string place() {
  const Machine& m = machine();
  if (m.run == nullptr) return {};
  std::string text_of = "kernel " + m.run->name + ", block " + text(current_block.index);
  if (current_thread != nullptr) text_of += ", thread " + text(current_thread->index);
  return text_of;
}

bool in_stack_guard(const void* address) { return machine().stacks.in_guard(static_cast<const std::byte*>(address)); }

}  // namespace packhorse::standin
