// Runs a kernel of Metal's shading language, or of CUDA's, on a CPU, one thread of the system for all.
//
// A kernel is a coroutine: each of the threads of a threadgroup runs, in a random order, to its next
// barrier or shuffle, and goes on when all that belong to it are there. What a GPU would leave
// undefined is an error: threads at different barriers, two threads that use one element of memory
// between two barriers (one of them to write), elements that nobody wrote or somebody wrote twice,
// indices outside of an array of the device. Those outside of threadgroup memory are the sanitizers'.
#include <algorithm>
#include <coroutine>
#include <cstdint>
#include <cstring>
#include <exception>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

constexpr int LANES = 32;

struct Uint3 {
    unsigned x, y, z;
};

enum class Waits { nothing, shuffle, barrier, end };

struct Thread {  // of the threadgroup that runs
    Uint3 position;
    Waits waits = Waits::nothing;
    int line = 0;  // at which it waits
    int mask = 0;  // of the shuffle
    uint32_t given = 0, received = 0;
};

static std::vector<Thread> threads;
static int now;               // the thread that runs
static uint64_t epoch = 0;    // counts barriers
static uint64_t group_epoch;  // with which the threadgroup began
static Uint3 group_position, group_count;

[[noreturn]] static void fail(const std::string& what) { throw std::runtime_error(what); }

// A number in threadgroup memory, which knows who used it last.
template <typename T>
struct Cell {
    T value;
    uint64_t written = 0, read = 0;  // the epoch
    int writer = -1, reader = -1;    // -2: several

    operator T() {
        if (written < group_epoch || writer < 0) fail("read before it is written");
        if (written == epoch && writer != now) fail("race: read what another thread writes");
        reader = read == epoch && reader != now ? -2 : now;
        read = epoch;
        return value;
    }
    void operator=(T x) {
        if (written == epoch && writer >= 0 && writer != now) fail("race: two threads write");
        if (read == epoch && reader != -1 && reader != now) fail("race: write what another reads");
        value = x, writer = now, written = epoch;
    }
};

// An array of the device, which a kernel only reads.
template <typename T>
struct Input {
    const T* data;
    long size;
    T operator[](long i) const {
        if (i < 0 || i >= size) fail("index " + std::to_string(i) + " of " + std::to_string(size));
        return data[i];
    }
};

// An array of the device, each of whose elements is written once.
template <typename T>
struct Output {
    T* data;
    long size;
    uint8_t* written;
    T& operator[](long i) const {
        if (i < 0 || i >= size) fail("index " + std::to_string(i) + " of " + std::to_string(size));
        if (written[i]++) fail("race: an output is written twice");
        return data[i];
    }
};

struct Running {
    struct promise_type {
        Running get_return_object() {
            return {std::coroutine_handle<promise_type>::from_promise(*this)};
        }
        std::suspend_always initial_suspend() noexcept { return {}; }
        std::suspend_always final_suspend() noexcept { return {}; }
        void return_void() { threads[now].waits = Waits::end; }
        void unhandled_exception() { throw; }
    };
    std::coroutine_handle<promise_type> handle;
};

struct Wait {
    Waits what;
    int line;
    bool await_ready() { return false; }
    void await_suspend(std::coroutine_handle<>) {
        threads[now].waits = what, threads[now].line = line;
    }
    void await_resume() {}
};

template <typename T>
struct Shuffle : Wait {
    static_assert(sizeof(T) == 4);
    Shuffle(T value, int mask, int line) : Wait{Waits::shuffle, line} {
        std::memcpy(&threads[now].given, &value, 4), threads[now].mask = mask;
    }
    T await_resume() {
        T value;
        std::memcpy(&value, &threads[now].received, 4);
        return value;
    }
};

// Whether some threads all wait for one thing; an error if they came to it from different places.
static bool all_wait(int first, int count, Waits what) {
    for (int i = first; i < first + count; i++)
        if (threads[i].waits != what) return false;
    for (int i = first; i < first + count && what != Waits::end; i++) {
        if (threads[i].line != threads[first].line) fail("threads wait at different lines");
        if (what == Waits::shuffle && threads[i].mask != threads[first].mask)
            fail("lanes shuffle by different masks");
    }
    return true;
}

static void go_on(int first, int count) {
    for (int i = first; i < first + count; i++) {
        threads[i].received = threads[(i ^ threads[i].mask) % threads.size()].given;
        threads[i].waits = Waits::nothing;
    }
}

template <typename Start>
static void run_group(int count, std::mt19937& random, Start start) {
    struct Handles : std::vector<Running> {
        ~Handles() {
            for (auto& each : *this) each.handle.destroy();
        }
    } running;
    threads.assign(count, {});
    group_epoch = ++epoch;
    std::vector<int> order(count);
    std::iota(order.begin(), order.end(), 0);
    for (int i : order) threads[i].position = {unsigned(i), 0, 0}, running.push_back(start());
    while (!all_wait(0, count, Waits::end)) {
        std::shuffle(order.begin(), order.end(), random);
        bool any = false;
        for (int i : order) {
            if (threads[i].waits != Waits::nothing) continue;
            now = i, any = true;
            running[i].handle.resume();
        }
        if (!any) fail("threads wait for others that never come");
        for (int i = 0; i < count; i += LANES)
            if (all_wait(i, LANES, Waits::shuffle)) go_on(i, LANES);
        if (all_wait(0, count, Waits::barrier)) epoch++, go_on(0, count);
    }
}

// All threadgroups, one after the other; what went wrong, or null.
template <typename Start>
static const char* run_grid(Uint3 groups, int count, unsigned seed, Start start) {
    static std::string error;
    std::mt19937 random(seed);
    group_count = groups;
    try {
        for (unsigned z = 0; z < groups.z; z++)
            for (unsigned y = 0; y < groups.y; y++)
                for (unsigned x = 0; x < groups.x; x++) {
                    group_position = {x, y, z};
                    run_group(count, random, start);
                }
    } catch (const std::exception& problem) {
        error = problem.what();
        return error.c_str();
    }
    return nullptr;
}

static float fma(float x, float y, float z) { return __builtin_fmaf(x, y, z); }
using std::min;

// `threadgroup float x[8]` becomes `static Shared::Float x[8]`, and any other float is one.
using Float = float;
struct Shared {
    using Float = Cell<float>;
};

#define WAIT_AT_BARRIER co_await Wait{Waits::barrier, __LINE__}
#define SHUFFLE_XOR(value, mask) (co_await Shuffle(value, mask, __LINE__))
#ifdef SHIM_OF_CUDA
#define __shared__ static Shared::
#define __syncthreads() WAIT_AT_BARRIER
#define __shfl_xor_sync(lanes, value, mask) SHUFFLE_XOR(value, mask)
#define threadIdx threads[now].position
#define blockIdx group_position
#define gridDim group_count
#else
#define threadgroup static Shared::
#define threadgroup_barrier(flags) WAIT_AT_BARRIER
#define simd_shuffle_xor(value, mask) SHUFFLE_XOR(value, mask)
#define thread_position_in_threadgroup threads[now].position
#define threadgroup_position_in_grid group_position
#define threadgroups_per_grid group_count
#define thread_index_in_simdgroup (now % LANES)
#define simdgroup_index_in_threadgroup (now / LANES)
#endif

// Words of the two languages, which are no names there.
#pragma GCC poison thread device constant kernel vertex fragment half bfloat uniform sampler
#pragma GCC poison object_data ray_data threadgroup_imageblock visible intersection mesh object
