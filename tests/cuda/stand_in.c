// The CUDA functions that must do something for onnxruntime-gpu to make a session and run it on a
// machine without a GPU. Device memory is host memory; kernels and matrix products do nothing.
//
// stand_in.py lists every other function that the provider asks for in a second file, as weak
// definitions: a definition here wins, and nothing has to keep the two apart.
//
// Everything here is stateless, so one library can answer under many names.

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { success = 0, out_of_memory = 2 };  // cudaSuccess, cudaErrorMemoryAllocation

// One H100: compute capability 9.0 has every kernel that we want placed, bfloat16 included.
enum {
    capability_major = 9,
    capability_minor = 0,
    multiprocessors = 132,
    warp_size = 32,
    threads_per_block = 1024,
    threads_per_multiprocessor = 2048,
    registers = 65536,
    shared_memory_per_block = 48 << 10,
    shared_memory_per_block_opt_in = 227 << 10,
    shared_memory_per_multiprocessor = 228 << 10,
};
static const size_t device_memory = (size_t)16 << 30;

// What every *Create hands out: nothing looks inside, but some callers test it for NULL.
static char handle;

// ---- memory ----

// Zeros, so that what no kernel wrote is at least the same in every run: calloc gets large blocks
// from the system already zeroed and untouched, so a huge arena still costs nothing. cudaMalloc
// promises 256-byte alignment and vectorised kernels check for it; calloc's own address is kept
// in the word below the block.
static int allocate(void **pointer, size_t size) {
    enum { alignment = 256 };
    char *base = calloc(1, size + alignment + sizeof(void *));
    if (base == NULL) return out_of_memory;
    uintptr_t address = (uintptr_t)base + sizeof(void *) + alignment - 1;
    void **block = (void **)(address - address % alignment);
    block[-1] = base;
    *pointer = block;
    return success;
}

static int release(void *pointer) {
    if (pointer != NULL) free(((void **)pointer)[-1]);
    return success;
}

int cudaMalloc(void **pointer, size_t size) { return allocate(pointer, size); }
int cudaMallocHost(void **pointer, size_t size) { return allocate(pointer, size); }
int cudaHostAlloc(void **pointer, size_t size, unsigned flags) {
    (void)flags;
    return allocate(pointer, size);
}
int cudaMallocFromPoolAsync(void **pointer, size_t size, void *pool, void *stream) {
    (void)pool, (void)stream;
    return allocate(pointer, size);
}
int cudaFree(void *pointer) { return release(pointer); }
int cudaFreeHost(void *pointer) { return release(pointer); }
int cudaFreeAsync(void *pointer, void *stream) {
    (void)stream;
    return release(pointer);
}

// memmove: where the "device" is the host, a tensor may be copied onto itself.
int cudaMemcpy(void *to, const void *from, size_t size, int kind) {
    (void)kind;
    memmove(to, from, size);
    return success;
}
int cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, void *stream) {
    (void)stream;
    return cudaMemcpy(to, from, size, kind);
}
int cudaMemcpy2DAsync(char *to, size_t to_pitch, const char *from, size_t from_pitch, size_t width,
                      size_t height, int kind, void *stream) {
    (void)kind, (void)stream;
    for (size_t row = 0; row < height; row++)
        memmove(to + row * to_pitch, from + row * from_pitch, width);
    return success;
}
// A __device__ variable has a host shadow of its size, and that is the address passed here.
int cudaMemcpyFromSymbol(void *to, const char *symbol, size_t size, size_t offset, int kind) {
    return cudaMemcpy(to, symbol + offset, size, kind);
}
int cudaMemset(void *to, int value, size_t size) {
    memset(to, value, size);
    return success;
}
int cudaMemsetAsync(void *to, int value, size_t size, void *stream) {
    (void)stream;
    return cudaMemset(to, value, size);
}

int cudaMemGetInfo(size_t *available, size_t *total) {
    *available = *total = device_memory;
    return success;
}
// Every attribute of a memory pool that is read is a 64-bit count of bytes.
int cudaMemPoolGetAttribute(void *pool, int attribute, uint64_t *value) {
    (void)pool, (void)attribute;
    *value = 0;
    return success;
}

// ---- the device ----

int cudaGetDeviceCount(int *count) {
    *count = 1;
    return success;
}
int cudaGetDevice(int *device) {
    *device = 0;
    return success;
}
// 13000 is CUDA 13.0, which the provider was built for; an older driver would be refused.
int cudaDriverGetVersion(int *version) {
    *version = 13000;
    return success;
}
int cudaRuntimeGetVersion(int *version) { return cudaDriverGetVersion(version); }

// cudaDeviceProp of CUDA 13.0 (driver_types.h in the nvidia-cuda-runtime 13.0.96 wheel). Its size
// and the offsets asserted below were computed from that header; fields that nobody reads here are
// left as gaps. CUDA 12 had clockRate, deviceOverlap and others in between: another layout.
struct device_properties {
    char name[256];
    char uuid[16];
    char luid[8];
    unsigned luid_device_node_mask;
    size_t total_global_mem;
    size_t shared_mem_per_block;
    int regs_per_block;
    int warp_size;
    size_t mem_pitch;
    int max_threads_per_block;
    int max_threads_dim[3];
    int max_grid_size[3];
    size_t total_const_mem;
    int major;
    int minor;
    size_t texture_alignment;
    size_t texture_pitch_alignment;
    int multi_processor_count;
    char gap_integrated_to_l2[216];
    int max_threads_per_multi_processor;
    int gap_streams_and_l1[3];
    size_t shared_mem_per_multiprocessor;
    int regs_per_multiprocessor;
    int gap_managed_memory_to_preemption[8];
    int cooperative_launch;
    size_t shared_mem_per_block_opt_in;
    char gap_to_the_end[328];
};
#define AT(field, offset) \
    _Static_assert(offsetof(struct device_properties, field) == offset, #field " has moved")
AT(total_global_mem, 288);
AT(warp_size, 308);
AT(max_threads_per_block, 320);
AT(major, 360);
AT(minor, 364);
AT(multi_processor_count, 384);
AT(max_threads_per_multi_processor, 604);
AT(shared_mem_per_multiprocessor, 624);
AT(regs_per_multiprocessor, 632);
AT(cooperative_launch, 668);
AT(shared_mem_per_block_opt_in, 672);
_Static_assert(sizeof(struct device_properties) == 1008, "cudaDeviceProp has 1008 bytes");

int cudaGetDeviceProperties(struct device_properties *properties, int device) {
    (void)device;
    *properties = (struct device_properties){
        .name = "stand-in for a GPU",
        .total_global_mem = device_memory,
        .shared_mem_per_block = shared_memory_per_block,
        .regs_per_block = registers,
        .warp_size = warp_size,
        .max_threads_per_block = threads_per_block,
        .max_threads_dim = {1024, 1024, 64},
        .max_grid_size = {2147483647, 65535, 65535},
        .major = capability_major,
        .minor = capability_minor,
        .multi_processor_count = multiprocessors,
        .max_threads_per_multi_processor = threads_per_multiprocessor,
        .shared_mem_per_multiprocessor = shared_memory_per_multiprocessor,
        .regs_per_multiprocessor = registers,
        .cooperative_launch = 1,
        .shared_mem_per_block_opt_in = shared_memory_per_block_opt_in,
    };
    return success;
}

// By number and name of enum cudaDeviceAttr, the same in every CUDA so far; the others are 0.
int cudaDeviceGetAttribute(int *value, int attribute, int device) {
    static const int attributes[] = {
        [1] = threads_per_block,  // MaxThreadsPerBlock
        [8] = shared_memory_per_block,  // MaxSharedMemoryPerBlock
        [10] = warp_size,  // WarpSize
        [12] = registers,  // MaxRegistersPerBlock
        [16] = multiprocessors,  // MultiProcessorCount
        [39] = threads_per_multiprocessor,  // MaxThreadsPerMultiProcessor
        [75] = capability_major,  // ComputeCapabilityMajor
        [76] = capability_minor,  // ComputeCapabilityMinor
        [81] = shared_memory_per_multiprocessor,  // MaxSharedMemoryPerMultiprocessor
        [95] = 1,  // CooperativeLaunch
        [97] = shared_memory_per_block_opt_in,  // MaxSharedMemoryPerBlockOptin
    };
    (void)device;
    *value = (size_t)attribute < sizeof attributes / sizeof *attributes ? attributes[attribute] : 0;
    return success;
}

// ---- streams, graphs, kernels ----

// cudaStreamCaptureStatusNone: the default would leave the caller's variable undefined, and a
// stream that seems to be capturing forbids allocation.
int cudaStreamIsCapturing(void *stream, int *status) {
    (void)stream;
    *status = 0;
    return success;
}
int cudaStreamEndCapture(void *stream, void **graph) {
    (void)stream;
    *graph = &handle;
    return success;
}
int cudaGraphInstantiate(void **executable, void *graph, unsigned long long flags) {
    (void)graph, (void)flags;
    *executable = &handle;
    return success;
}
int cudaEventElapsedTime(float *milliseconds, void *start, void *end) {
    (void)start, (void)end;
    *milliseconds = 0;
    return success;
}
// A callback that frees or hands back a buffer: unlike a kernel it is ordinary host code.
int cudaLaunchHostFunc(void *stream, void (*function)(void *), void *data) {
    (void)stream;
    function(data);
    return success;
}

int cudaLibraryLoadData(void **library) {
    *library = &handle;
    return success;
}
int cudaLibraryGetKernel(void **kernel) {
    *kernel = &handle;
    return success;
}
int __cudaGetKernel(void **kernel) {
    *kernel = &handle;
    return success;
}
// cudaFuncAttributes: three size_t, then maxThreadsPerBlock; 144 bytes in CUDA 13.0.
struct function_attributes {
    size_t sizes[3];
    int max_threads_per_block;
    char rest[116];
};
_Static_assert(sizeof(struct function_attributes) == 144, "cudaFuncAttributes has 144 bytes");
int cudaFuncGetAttributes(struct function_attributes *attributes, const void *function) {
    (void)function;
    *attributes = (struct function_attributes){.max_threads_per_block = threads_per_block};
    return success;
}
// Never 0, or a kernel's launcher decides that the kernel does not fit the device.
int cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks) {
    *blocks = 1;
    return success;
}

static long do_nothing(void) { return success; }
int cudaGetDriverEntryPointByVersion(const char *symbol, void **function, unsigned version,
                                     unsigned long long flags, int *status) {
    (void)symbol, (void)version, (void)flags;
    *function = (void *)do_nothing;
    if (status != NULL) *status = success;
    return success;
}

// ---- texts and versions: callers build C++ strings from these, which must not be NULL ----

static const char *const no_error = "no error: this is the stand-in for CUDA";
const char *cudaGetErrorName(void) { return no_error; }
const char *cudaGetErrorString(void) { return no_error; }
const char *cublasGetStatusName(void) { return no_error; }
const char *cublasGetStatusString(void) { return no_error; }
const char *cudnnGetErrorString(void) { return no_error; }
void cudnnGetLastErrorString(char *message, size_t size) {
    if (size > 0) message[0] = 0;
}
size_t cudnnGetVersion(void) { return 91000; }  // 9.10.0, as libcudnn.so.9 would say

// ---- *Create functions whose first argument is not a pointer to a pointer ----

int cufftCreate(int *plan) {  // a plan is an int: writing a pointer there would overrun it
    *plan = 1;
    return success;
}
int cudnnBackendCreateDescriptor(int type, void **descriptor) {
    (void)type;
    *descriptor = &handle;
    return success;
}
