/* A CUDA runtime without a GPU, to be preloaded in front of libcudart: device memory is host memory, copies are memcpy, streams and
   events do nothing, and a kernel launch is refused, so that whatever is not carried out elsewhere cannot pass for a result.
   EMULATED_CUDA_MEMORY (bytes) bounds device memory; EMULATED_CUDA_COUNT is the number of devices. */
#define _GNU_SOURCE
#include <cuda_runtime_api.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef struct { size_t bytes; size_t pad[7]; } Head;
static atomic_size_t used;
static __thread int current = 0;
static __thread cudaError_t last = cudaSuccess;

static size_t limit(void) { const char *s = getenv("EMULATED_CUDA_MEMORY"); return s ? strtoull(s, 0, 10) : (size_t)80 << 30; }
static int count(void) { const char *s = getenv("EMULATED_CUDA_COUNT"); return s ? atoi(s) : 1; }
static cudaError_t fail(cudaError_t e) { last = e; return e; }

static cudaError_t take(void **p, size_t n) {
    if (used + n > limit()) return fail(cudaErrorMemoryAllocation);
    size_t all = n + 4096;
    char *base = mmap(0, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return fail(cudaErrorMemoryAllocation);
    ((Head *)base)->bytes = n;
    used += n;
    *p = base + 4096;
    return cudaSuccess;
}
static cudaError_t give(void *p) {
    if (!p) return cudaSuccess;
    char *base = (char *)p - 4096;
    size_t n = ((Head *)base)->bytes;
    used -= n;
    munmap(base, n + 4096);
    return cudaSuccess;
}
cudaError_t cudaMalloc(void **p, size_t n) { return take(p, n); }
cudaError_t cudaMallocAsync(void **p, size_t n, cudaStream_t s) { return take(p, n); }
cudaError_t cudaFree(void *p) { return give(p); }
cudaError_t cudaFreeAsync(void *p, cudaStream_t s) { return give(p); }
cudaError_t cudaMallocHost(void **p, size_t n) { *p = aligned_alloc(4096, (n + 4095) / 4096 * 4096); return cudaSuccess; }
cudaError_t cudaHostAlloc(void **p, size_t n, unsigned f) { return cudaMallocHost(p, n); }
cudaError_t cudaFreeHost(void *p) { free(p); return cudaSuccess; }
cudaError_t cudaHostRegister(void *p, size_t n, unsigned f) { return cudaSuccess; }
cudaError_t cudaHostUnregister(void *p) { return cudaSuccess; }
cudaError_t cudaMemGetInfo(size_t *f, size_t *t) { *t = limit(); *f = *t - used; return cudaSuccess; }
cudaError_t cudaMemcpy(void *d, const void *s, size_t n, enum cudaMemcpyKind k) { memmove(d, s, n); return cudaSuccess; }
cudaError_t cudaMemcpyAsync(void *d, const void *s, size_t n, enum cudaMemcpyKind k, cudaStream_t st) { memmove(d, s, n); return cudaSuccess; }
cudaError_t cudaMemcpyPeerAsync(void *d, int a, const void *s, int b, size_t n, cudaStream_t st) { memmove(d, s, n); return cudaSuccess; }
cudaError_t cudaMemset(void *d, int v, size_t n) { memset(d, v, n); return cudaSuccess; }
cudaError_t cudaMemsetAsync(void *d, int v, size_t n, cudaStream_t st) { memset(d, v, n); return cudaSuccess; }

cudaError_t cudaGetDeviceCount(int *n) { *n = count(); return cudaSuccess; }
cudaError_t cudaGetDevice(int *d) { *d = current; return cudaSuccess; }
cudaError_t cudaSetDevice(int d) { if (d < 0 || d >= count()) return fail(cudaErrorInvalidDevice); current = d; return cudaSuccess; }
cudaError_t cudaDriverGetVersion(int *v) { *v = CUDART_VERSION; return cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int *v) { *v = CUDART_VERSION; return cudaSuccess; }
cudaError_t cudaDeviceSynchronize(void) { return cudaSuccess; }
cudaError_t cudaDeviceCanAccessPeer(int *c, int a, int b) { *c = 1; return cudaSuccess; }
cudaError_t cudaDeviceEnablePeerAccess(int d, unsigned f) { return cudaSuccess; }
cudaError_t cudaDeviceGetStreamPriorityRange(int *a, int *b) { *a = 0; *b = -5; return cudaSuccess; }
cudaError_t cudaDeviceGetPCIBusId(char *s, int n, int d) { snprintf(s, n, "0000:00:0%d.0", d); return cudaSuccess; }
cudaError_t cudaDeviceGetAttribute(int *v, enum cudaDeviceAttr a, int d) {
    *v = a == cudaDevAttrComputeCapabilityMajor ? 8 : a == cudaDevAttrMultiProcessorCount ? 108 : a == cudaDevAttrWarpSize ? 32
       : a == cudaDevAttrMaxThreadsPerBlock ? 1024 : a == cudaDevAttrMaxSharedMemoryPerBlockOptin ? 166912 : 0;
    return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int d) {
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "emulated CUDA device");
    p->totalGlobalMem = limit(); p->major = 8; p->minor = 0; p->multiProcessorCount = 108; p->warpSize = 32;
    p->maxThreadsPerBlock = 1024; p->maxThreadsPerMultiProcessor = 2048; p->sharedMemPerBlock = 49152;
    p->sharedMemPerBlockOptin = 166912; p->sharedMemPerMultiprocessor = 167936; p->regsPerBlock = 65536;
    p->regsPerMultiprocessor = 65536; p->l2CacheSize = 40 << 20; p->maxBlocksPerMultiProcessor = 32;
    for (int i = 0; i < 3; i++) { p->maxThreadsDim[i] = i < 2 ? 1024 : 64; p->maxGridSize[i] = i ? 65535 : 2147483647; }
    p->textureAlignment = 512; p->concurrentKernels = 1; p->unifiedAddressing = 1; p->pciBusID = d;
    return cudaSuccess;
}

static cudaError_t new_handle(void **h) { *h = malloc(8); return cudaSuccess; }
cudaError_t cudaStreamCreate(cudaStream_t *s) { return new_handle((void **)s); }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned f) { return new_handle((void **)s); }
cudaError_t cudaStreamCreateWithPriority(cudaStream_t *s, unsigned f, int p) { return new_handle((void **)s); }
cudaError_t cudaStreamDestroy(cudaStream_t s) { return cudaSuccess; }
cudaError_t cudaStreamQuery(cudaStream_t s) { return cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t s) { return cudaSuccess; }
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned f) { return cudaSuccess; }
cudaError_t cudaStreamIsCapturing(cudaStream_t s, enum cudaStreamCaptureStatus *c) { *c = cudaStreamCaptureStatusNone; return cudaSuccess; }
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t s, enum cudaStreamCaptureStatus *c, unsigned long long *id, cudaGraph_t *g,
                                     const cudaGraphNode_t **dep, const cudaGraphEdgeData **e, size_t *n) {
    *c = cudaStreamCaptureStatusNone; if (id) *id = 0; if (g) *g = 0; if (dep) *dep = 0; if (e) *e = 0; if (n) *n = 0;
    return cudaSuccess;
}
cudaError_t cudaThreadExchangeStreamCaptureMode(enum cudaStreamCaptureMode *m) { return cudaSuccess; }
cudaError_t cudaEventCreate(cudaEvent_t *e) { return new_handle((void **)e); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned f) { return new_handle((void **)e); }
cudaError_t cudaEventDestroy(cudaEvent_t e) { free(e); return cudaSuccess; }
cudaError_t cudaEventQuery(cudaEvent_t e) { return cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s) { return cudaSuccess; }
cudaError_t cudaEventRecordWithFlags(cudaEvent_t e, cudaStream_t s, unsigned f) { return cudaSuccess; }
cudaError_t cudaEventSynchronize(cudaEvent_t e) { return cudaSuccess; }
cudaError_t cudaEventElapsedTime(float *t, cudaEvent_t a, cudaEvent_t b) { *t = 0; return cudaSuccess; }
cudaError_t cudaGetLastError(void) { cudaError_t e = last; last = cudaSuccess; return e; }
cudaError_t cudaPeekAtLastError(void) { return last; }
cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *a, const void *p) {
    memset(a, 0, sizeof *a); a->type = cudaMemoryTypeDevice; a->devicePointer = (void *)p; return cudaSuccess;
}
cudaError_t cudaLaunchKernel(const void *f, dim3 g, dim3 b, void **a, size_t m, cudaStream_t s) {
    return fail(cudaErrorNotSupported);
}
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *c, const void *f, void **a) { return cudaLaunchKernel(f, c->gridDim, c->blockDim, a, 0, 0); }

/* the driver's own functions, of which torch looks up these by name */
int cuDevicePrimaryCtxGetState(int d, unsigned *flags, int *active) { if (flags) *flags = 0; *active = 1; return 0; }
#define REFUSED(name) int name(void) { return 801; }
REFUSED(cuCtxFromGreenCtx)
REFUSED(cuCtxGetCurrent)
REFUSED(cuCtxPopCurrent)
REFUSED(cuCtxPushCurrent)
REFUSED(cuCtxSetCurrent)
REFUSED(cuDevResourceGenerateDesc)
REFUSED(cuDevSmResourceSplitByCount)
REFUSED(cuDeviceGet)
REFUSED(cuDeviceGetAttribute)
REFUSED(cuDeviceGetDevResource)
REFUSED(cuGetErrorString)
REFUSED(cuGreenCtxCreate)
REFUSED(cuGreenCtxDestroy)
REFUSED(cuGreenCtxStreamCreate)
REFUSED(cuLogsRegisterCallback)
REFUSED(cuLogsUnregisterCallback)
REFUSED(cuMemAddressFree)
REFUSED(cuMemAddressReserve)
REFUSED(cuMemCreate)
REFUSED(cuMemExportToShareableHandle)
REFUSED(cuMemGetAddressRange)
REFUSED(cuMemGetAddressRange_v2)
REFUSED(cuMemGetAllocationGranularity)
REFUSED(cuMemGetAllocationPropertiesFromHandle)
REFUSED(cuMemImportFromShareableHandle)
REFUSED(cuMemMap)
REFUSED(cuMemRelease)
REFUSED(cuMemRetainAllocationHandle)
REFUSED(cuMemSetAccess)
REFUSED(cuMemUnmap)
REFUSED(cuMemsetD32Async)
REFUSED(cuMulticastAddDevice)
REFUSED(cuMulticastBindMem)
REFUSED(cuMulticastCreate)
REFUSED(cuMulticastUnbind)
REFUSED(cuStreamWriteValue32)
REFUSED(cuDeviceGetCount)
REFUSED(cuDeviceGetUuid)
REFUSED(cuDevicePrimaryCtxRetain)
REFUSED(cuGetErrorName)
REFUSED(cuStreamGetCtx)
REFUSED(cuPointerGetAttribute)
REFUSED(cuInit)
REFUSED(cuDriverGetVersion)
cudaError_t cudaGetDriverEntryPointByVersion(const char *symbol, void **f, unsigned v, unsigned long long flags,
                                             enum cudaDriverEntryPointQueryResult *r) {
    *f = strcmp(symbol, "cuDevicePrimaryCtxGetState") ? (void *)cuInit : (void *)cuDevicePrimaryCtxGetState;
    if (r) *r = cudaDriverEntryPointSuccess;
    return cudaSuccess;
}
