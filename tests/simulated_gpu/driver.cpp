// A driver for NVIDIA GPUs that are not there: JAX's CUDA plug-in runs on it, compiles, allocates, and launches kernels
// that compute nothing. It has the functions that a run of the benchmark calls, of all of NVIDIA's libraries.
//
// Each launch takes its time on the timeline of its stream, so a host that does not wait is seen. Device memory is host
// memory, most of which is never touched. Small copies to the host are filled with 1, so that losses are finite.
//
// SIMULATED_GPUS        how many (1)
// SIMULATED_KERNEL_NS   how long each kernel takes (2000)
// SIMULATED_MIB         memory of each GPU (81559)
// SIMULATED_FAULT       N:error or N:hang: what launch N does

#include <cuda.h>
#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#define API extern "C" __attribute__((visibility("default")))
// By another name than in the header, which knows the arguments.
#define RETURNS(name, status)                \
  API int simulated_##name() __asm__(#name); \
  int simulated_##name() { return status; }
#define SUCCEEDS(name) RETURNS(name, 0)
#define REFUSES(name) RETURNS(name, 3)  // NVML_ERROR_NOT_SUPPORTED

namespace {

constexpr int kMostGpus = 64;
constexpr size_t kPage = 2 << 20;
constexpr size_t kReserved = 500ull << 20;  // a context's own
constexpr size_t kFilled = 4096;            // bytes; larger copies to the host are weights

using Ns = long long;
constexpr Ns kForever = 1ll << 50;
constexpr Ns kNever = std::numeric_limits<Ns>::max();

long setting(const char* name, long otherwise) {
  const char* value = getenv(name);
  return value ? atol(value) : otherwise;
}

int num_gpus() { return setting("SIMULATED_GPUS", 1); }
size_t memory_bytes() { return static_cast<size_t>(setting("SIMULATED_MIB", 81559)) << 20; }
Ns now() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

void sleep_until(Ns time) {
  if (Ns left = time - now(); left > 0) std::this_thread::sleep_for(std::chrono::nanoseconds(left));
}

struct Context {
  int gpu;
};
struct Stream {
  Context* context;
  Ns done = 0;  // when all work so far is done
};
struct Event {
  Ns done = 0;
};
struct Graph {
  int num_nodes = 0;
};
struct Block {
  size_t bytes;
  int gpu;  // -1: of the host
};
struct HostFunction {
  CUhostFn call;
  void* data;
};

// Never destroyed: threads still use them when the process ends.
std::mutex& lock = *new std::mutex;
std::map<CUdeviceptr, Block>& blocks = *new std::map<CUdeviceptr, Block>;       // addresses
std::map<CUdeviceptr, Block>& allocations = *new std::map<CUdeviceptr, Block>;  // by handle
std::multimap<Ns, HostFunction>& host_functions = *new std::multimap<Ns, HostFunction>;
std::condition_variable& host_work = *new std::condition_variable;
Ns running_since = kNever;  // the time of the host function that runs

Context contexts[kMostGpus];
Stream default_streams[kMostGpus];
size_t used[kMostGpus];
thread_local Context* current = nullptr;

int current_gpu() { return current ? current->gpu : 0; }

Stream& stream_of(CUstream stream) {
  bool is_default = reinterpret_cast<uintptr_t>(stream) < 8;  // names of default streams
  return is_default ? default_streams[current_gpu()] : *reinterpret_cast<Stream*>(stream);
}

void work(CUstream stream, Ns time) {
  std::lock_guard held(lock);
  Ns& done = stream_of(stream).done;
  done = std::max(done, now()) + time;
}

CUresult launch(CUstream stream, int num_kernels) {
  static const Ns kernel_ns = setting("SIMULATED_KERNEL_NS", 2000);
  static const char* fault = getenv("SIMULATED_FAULT");
  static const long fault_at = fault ? atol(fault) : 0;
  static std::atomic<long> launches{0};
  long before = launches.fetch_add(num_kernels);
  if (fault && before + num_kernels >= fault_at) {
    if (strstr(fault, "error")) return CUDA_ERROR_ILLEGAL_ADDRESS;
    work(stream, kForever);
  }
  work(stream, num_kernels * kernel_ns);
  return CUDA_SUCCESS;
}

bool has_room(size_t bytes, int gpu) {
  return gpu < 0 || used[gpu] + bytes + kReserved <= memory_bytes();
}

CUresult reserve(CUdeviceptr* address, size_t bytes, int gpu) {
  constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void* found = mmap(nullptr, bytes + kPage, PROT_READ | PROT_WRITE, kFlags, -1, 0);
  if (found == MAP_FAILED) return CUDA_ERROR_OUT_OF_MEMORY;
  std::lock_guard held(lock);
  *address = (reinterpret_cast<CUdeviceptr>(found) + kPage - 1) & ~(kPage - 1);
  blocks[*address] = {bytes, gpu};
  return CUDA_SUCCESS;
}

CUresult release(CUdeviceptr address) {
  std::lock_guard held(lock);
  auto found = blocks.find(address);
  if (found == blocks.end()) return CUDA_ERROR_INVALID_VALUE;
  munmap(reinterpret_cast<void*>(address), found->second.bytes);
  blocks.erase(found);
  return CUDA_SUCCESS;
}

CUresult copy(void* to, const void* from, size_t bytes, CUstream stream) {
  work(stream, 1000);
  memcpy(to, from, bytes);
  return CUDA_SUCCESS;
}

void call_host_functions() {
  std::unique_lock held(lock);
  for (;;) {
    if (host_functions.empty()) {
      host_work.wait(held);
    } else if (Ns left = host_functions.begin()->first - now(); left > 0) {
      host_work.wait_for(held, std::chrono::nanoseconds(std::min(left, 10'000'000ll)));
    } else {
      auto next = host_functions.extract(host_functions.begin());
      running_since = next.key();
      held.unlock();
      next.mapped().call(next.mapped().data);
      held.lock();
      running_since = kNever;
    }
  }
}

template <typename Handle, typename Object>
CUresult give(Handle* handle, Object* object) {
  *handle = reinterpret_cast<Handle>(object);
  return CUDA_SUCCESS;
}

CUresult add_node(CUgraphNode* node, CUgraph graph) {
  reinterpret_cast<Graph*>(graph)->num_nodes++;
  return give(node, new int);
}

int attribute_value(CUdevice_attribute attribute, int gpu) {
  switch (attribute) {  // of an H100
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: return 9;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK: return 1024;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X: return 1024;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y: return 1024;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z: return 64;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X: return 2147483647;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y: return 65535;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z: return 65535;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK: return 49152;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: return 232448;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR: return 233472;
    case CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK: return 1024;
    case CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY: return 65536;
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE: return 32;
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK: return 65536;
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR: return 65536;
    case CU_DEVICE_ATTRIBUTE_CLOCK_RATE: return 1980000;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: return 132;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR: return 2048;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR: return 32;
    case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE: return 2619000;
    case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH: return 5120;
    case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE: return 50 << 20;
    case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING: return 1;
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS: return 1;
    case CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY: return 1;
    case CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED: return 1;
    case CU_DEVICE_ATTRIBUTE_PCI_BUS_ID: return gpu + 1;
    default: return 0;
  }
}

}  // namespace

// The driver: devices and contexts

API CUresult cuInit(unsigned) { return num_gpus() ? CUDA_SUCCESS : CUDA_ERROR_NO_DEVICE; }
API CUresult cuDriverGetVersion(int* version) { return *version = 12090, CUDA_SUCCESS; }
API CUresult cuDeviceGetCount(int* count) { return *count = num_gpus(), CUDA_SUCCESS; }
API CUresult cuDeviceGet(CUdevice* device, int ordinal) {
  return *device = ordinal, ordinal < num_gpus() ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}
API CUresult cuDeviceGetName(char* name, int length, CUdevice) {
  return snprintf(name, length, "NVIDIA H100 80GB HBM3"), CUDA_SUCCESS;
}
API CUresult cuDeviceGetUuid_v2(CUuuid* uuid, CUdevice device) {
  memset(uuid, 0x11, sizeof *uuid);
  uuid->bytes[0] = device;
  return CUDA_SUCCESS;
}
API CUresult cuDeviceTotalMem_v2(size_t* bytes, CUdevice) { return *bytes = memory_bytes(), CUDA_SUCCESS; }
API CUresult cuDeviceGetPCIBusId(char* id, int length, CUdevice device) {
  return snprintf(id, length, "0000:%02x:00.0", device + 1), CUDA_SUCCESS;
}
API CUresult cuDeviceCanAccessPeer(int* can, CUdevice, CUdevice) { return *can = 1, CUDA_SUCCESS; }
API CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice device) {
  return *value = attribute_value(attribute, device), CUDA_SUCCESS;
}
API CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
  contexts[device].gpu = device;
  return give(context, &contexts[device]);
}
API CUresult cuDevicePrimaryCtxGetState(CUdevice, unsigned* flags, int* active) {
  return *flags = 0, *active = 0, CUDA_SUCCESS;
}
API CUresult cuCtxGetCurrent(CUcontext* context) { return give(context, current); }
API CUresult cuCtxSetCurrent(CUcontext context) {
  return current = reinterpret_cast<Context*>(context), CUDA_SUCCESS;
}
API CUresult cuCtxGetDevice(CUdevice* device) { return *device = current_gpu(), CUDA_SUCCESS; }
API CUresult cuCtxGetStreamPriorityRange(int* least, int* greatest) {
  return *least = 0, *greatest = -5, CUDA_SUCCESS;
}
API CUresult cuCtxSynchronize() { return CUDA_SUCCESS; }
SUCCEEDS(cuCtxEnablePeerAccess)
API CUresult cuGetErrorName(CUresult result, const char** name) {
  *name = result == CUDA_ERROR_OUT_OF_MEMORY    ? "CUDA_ERROR_OUT_OF_MEMORY"
          : result == CUDA_ERROR_ILLEGAL_ADDRESS ? "CUDA_ERROR_ILLEGAL_ADDRESS"
                                                 : "CUDA_ERROR";
  return CUDA_SUCCESS;
}
API CUresult cuGetErrorString(CUresult, const char** text) { return *text = "simulated", CUDA_SUCCESS; }

// Memory

API CUresult cuMemGetInfo_v2(size_t* free, size_t* total) {
  std::lock_guard held(lock);
  *total = memory_bytes();
  *free = *total - used[current_gpu()] - kReserved;
  return CUDA_SUCCESS;
}
API CUresult cuMemAddressReserve(CUdeviceptr* address, size_t bytes, size_t, CUdeviceptr, unsigned long long) {
  return reserve(address, bytes, current_gpu());
}
API CUresult cuMemAddressFree(CUdeviceptr address, size_t) { return release(address); }
API CUresult cuMemCreate(CUmemGenericAllocationHandle* handle, size_t bytes, const CUmemAllocationProp* wanted,
                         unsigned long long) {
  std::lock_guard held(lock);
  int gpu = wanted->location.type == CU_MEM_LOCATION_TYPE_DEVICE ? wanted->location.id : -1;
  if (!has_room(bytes, gpu)) return CUDA_ERROR_OUT_OF_MEMORY;
  static CUmemGenericAllocationHandle last = 0;
  allocations[*handle = ++last] = {bytes, gpu};
  if (gpu >= 0) used[gpu] += bytes;
  return CUDA_SUCCESS;
}
API CUresult cuMemRelease(CUmemGenericAllocationHandle handle) {
  std::lock_guard held(lock);
  if (auto [bytes, gpu] = allocations[handle]; gpu >= 0) used[gpu] -= bytes;
  return allocations.erase(handle), CUDA_SUCCESS;
}
API CUresult cuMemGetAllocationGranularity(size_t* bytes, const CUmemAllocationProp*,
                                           CUmemAllocationGranularity_flags) {
  return *bytes = kPage, CUDA_SUCCESS;
}
SUCCEEDS(cuMemMap)
SUCCEEDS(cuMemSetAccess)
SUCCEEDS(cuMemUnmap)
API CUresult cuMemHostAlloc(void** address, size_t bytes, unsigned) {
  return reserve(reinterpret_cast<CUdeviceptr*>(address), bytes, -1);
}
API CUresult cuMemAllocHost_v2(void** address, size_t bytes) { return cuMemHostAlloc(address, bytes, 0); }
API CUresult cuMemFreeHost(void* address) { return release(reinterpret_cast<CUdeviceptr>(address)); }
API CUresult cuPointerGetAttribute(void* value, CUpointer_attribute attribute, CUdeviceptr address) {
  std::lock_guard held(lock);
  auto next = blocks.upper_bound(address);
  if (next == blocks.begin()) return CUDA_ERROR_INVALID_VALUE;
  auto [start, block] = *std::prev(next);
  if (address >= start + block.bytes) return CUDA_ERROR_INVALID_VALUE;
  bool is_host = block.gpu < 0;
  switch (attribute) {
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
      return *static_cast<unsigned*>(value) = is_host ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE, CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
      return *static_cast<int*>(value) = is_host ? 0 : block.gpu, CUDA_SUCCESS;
    default: return CUDA_ERROR_INVALID_VALUE;
  }
}
API CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t bytes, CUstream stream) {
  return copy(reinterpret_cast<void*>(to), from, bytes, stream);
}
API CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return copy(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), bytes, stream);
}
API CUresult cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t bytes, CUstream stream) {
  copy(to, reinterpret_cast<void*>(from), bytes, stream);
  if (bytes <= kFilled && bytes % sizeof(float) == 0) {
    std::fill_n(static_cast<float*>(to), bytes / sizeof(float), 1.0f);
  }
  return CUDA_SUCCESS;
}
API CUresult cuMemsetD32_v2(CUdeviceptr to, unsigned value, size_t count) {
  return std::fill_n(reinterpret_cast<unsigned*>(to), count, value), CUDA_SUCCESS;
}
API CUresult cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t count, CUstream stream) {
  work(stream, 1000);
  return cuMemsetD32_v2(to, value, count);
}

// Streams and events

API CUresult cuStreamCreate(CUstream* stream, unsigned) { return give(stream, new Stream{current}); }
API CUresult cuStreamCreateWithPriority(CUstream* stream, unsigned, int) { return cuStreamCreate(stream, 0); }
SUCCEEDS(cuStreamDestroy_v2)
API CUresult cuStreamIsCapturing(CUstream, CUstreamCaptureStatus* status) {
  return *status = CU_STREAM_CAPTURE_STATUS_NONE, CUDA_SUCCESS;
}
API CUresult cuStreamQuery(CUstream stream) {
  std::lock_guard held(lock);
  return stream_of(stream).done > now() ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS;
}
API CUresult cuStreamSynchronize(CUstream stream) {
  std::unique_lock held(lock);
  Ns done = stream_of(stream).done;
  held.unlock();
  sleep_until(done);
  held.lock();
  while (running_since <= done || (!host_functions.empty() && host_functions.begin()->first <= done)) {
    held.unlock();
    std::this_thread::yield();
    held.lock();
  }
  return CUDA_SUCCESS;
}
API CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned) {
  std::lock_guard held(lock);
  Ns& done = stream_of(stream).done;
  done = std::max(done, reinterpret_cast<Event*>(event)->done);
  return CUDA_SUCCESS;
}
API CUresult cuEventCreate(CUevent* event, unsigned) { return give(event, new Event); }
SUCCEEDS(cuEventDestroy_v2)
API CUresult cuEventRecord(CUevent event, CUstream stream) {
  std::lock_guard held(lock);
  reinterpret_cast<Event*>(event)->done = stream_of(stream).done;
  return CUDA_SUCCESS;
}
API CUresult cuLaunchHostFunc(CUstream stream, CUhostFn call, void* data) {
  static std::once_flag once;
  std::call_once(once, [] { std::thread(call_host_functions).detach(); });
  std::lock_guard held(lock);
  host_functions.emplace(stream_of(stream).done, HostFunction{call, data});
  return host_work.notify_one(), CUDA_SUCCESS;
}

// Kernels and graphs

API CUresult cuModuleLoadFatBinary(CUmodule* module, const void*) { return give(module, new int); }
API CUresult cuModuleGetFunction(CUfunction* function, CUmodule, const char*) { return give(function, new int); }
API CUresult cuModuleGetGlobal_v2(CUdeviceptr* address, size_t* bytes, CUmodule, const char*) {
  *bytes = 1 << 20;
  return reserve(address, *bytes, current_gpu());
}
SUCCEEDS(cuModuleUnload)
API CUresult cuFuncGetAttribute(int* value, CUfunction_attribute, CUfunction) { return *value = 0, CUDA_SUCCESS; }
SUCCEEDS(cuFuncSetAttribute)
SUCCEEDS(cuFuncSetCacheConfig)
API CUresult cuLaunchKernelEx(const CUlaunchConfig* config, CUfunction, void**, void**) {
  return launch(config->hStream, 1);
}
API CUresult cuGraphCreate(CUgraph* graph, unsigned) { return give(graph, new Graph); }
API CUresult cuGraphAddMemcpyNode(CUgraphNode* node, CUgraph graph, const CUgraphNode*, size_t,
                                  const CUDA_MEMCPY3D*, CUcontext) {
  return add_node(node, graph);
}
API CUresult cuGraphAddNode_v2(CUgraphNode* node, CUgraph graph, const CUgraphNode*, const CUgraphEdgeData*, size_t,
                               CUgraphNodeParams*) {
  return add_node(node, graph);
}
API CUresult cuGraphInstantiateWithFlags(CUgraphExec* executable, CUgraph graph, unsigned long long) {
  return give(executable, new Graph(*reinterpret_cast<Graph*>(graph)));
}
API CUresult cuGraphLaunch(CUgraphExec executable, CUstream stream) {
  return launch(stream, reinterpret_cast<Graph*>(executable)->num_nodes);
}
API CUresult cuGraphNodeGetType(CUgraphNode, CUgraphNodeType* type) {
  return *type = CU_GRAPH_NODE_TYPE_KERNEL, CUDA_SUCCESS;
}
SUCCEEDS(cuGraphDestroy)
SUCCEEDS(cuGraphExecDestroy)
SUCCEEDS(cuGraphExecKernelNodeSetParams_v2)
SUCCEEDS(cuGraphExecMemcpyNodeSetParams)

// The libraries: JAX asks for their versions, XLA for a product's kernel

SUCCEEDS(__cudaRegisterFatBinaryEnd)
SUCCEEDS(__cudaRegisterFunction)
SUCCEEDS(__cudaRegisterVar)
SUCCEEDS(__cudaUnregisterFatBinary)
API void* __cudaRegisterFatBinary(void*) { return new int; }
SUCCEEDS(cudaPeekAtLastError)
API int cudaGetDeviceCount(int* count) { return *count = num_gpus(), 0; }
API int cudaDeviceGetAttribute(int* value, int attribute, int gpu) {
  return cuDeviceGetAttribute(value, static_cast<CUdevice_attribute>(attribute), gpu);
}
API int cudaRuntimeGetVersion(int* version) { return *version = 12090, 0; }
API int cublasGetVersion_v2(void*, int* version) { return *version = 120901, 0; }
API size_t cudnnGetVersion() { return 91800; }
API int cudnnGetProperty(int part, int* version) { return *version = part == 0 ? 9 : part == 1 ? 18 : 0, 0; }
API int cufftGetVersion(int* version) { return *version = 11400, 0; }
API int cuptiGetVersion(unsigned* version) { return *version = 26, 0; }
API int cusparseGetProperty(int part, int* version) { return *version = part == 0 ? 12 : part == 1 ? 5 : 10, 0; }
API int cublasCreate_v2(void** handle) { return give(handle, new int); }
API int cudnnCreate(void** handle) { return give(handle, new int); }
API int cublasLtCreate(void** handle) { return give(handle, new int); }
API int cublasLtMatmulAlgoGetHeuristic(void*, void*, void*, void*, void*, void*, void*, int, void*, int* count) {
  return *count = 1, 0;
}
SUCCEEDS(cublasLtMatmul)
SUCCEEDS(cublasLtMatmulDescCreate)
SUCCEEDS(cublasLtMatmulDescDestroy)
SUCCEEDS(cublasLtMatmulDescSetAttribute)
SUCCEEDS(cublasLtMatmulPreferenceCreate)
SUCCEEDS(cublasLtMatmulPreferenceDestroy)
SUCCEEDS(cublasLtMatmulPreferenceSetAttribute)
SUCCEEDS(cublasLtMatrixLayoutCreate)
SUCCEEDS(cublasLtMatrixLayoutDestroy)
SUCCEEDS(cublasLtMatrixLayoutGetAttribute)
SUCCEEDS(cublasLtMatrixLayoutSetAttribute)
API int ncclGetVersion(int* version) { return *version = 22809, 0; }
API int ncclCommInitRankConfig(void** communicator, ...) { return give(communicator, new int); }
API int ncclCommGetAsyncError(void*, int* error) { return *error = 0, 0; }
SUCCEEDS(ncclGetUniqueId)
SUCCEEDS(ncclCommRegister)
SUCCEEDS(ncclCommDeregister)
SUCCEEDS(ncclCommQueryProperties)
SUCCEEDS(ncclGroupStart)
SUCCEEDS(ncclGroupEnd)
SUCCEEDS(ncclAllReduce)
SUCCEEDS(ncclAllGather)
SUCCEEDS(ncclBroadcast)

// NVML: each GPU draws 300 W, and counts its energy every 0.1 s

SUCCEEDS(nvmlInit_v2)
SUCCEEDS(nvmlInitWithFlags)
SUCCEEDS(nvmlShutdown)
API const char* nvmlErrorString(int error) { return error == 3 ? "Not Supported" : "Success"; }
API int nvmlSystemGetDriverVersion(char* version, unsigned length) { return snprintf(version, length, "575.57.08"), 0; }
API int nvmlDeviceGetCount_v2(unsigned* count) { return *count = num_gpus(), 0; }
API int nvmlDeviceGetHandleByPciBusId_v2(const char* id, int** device) {
  unsigned domain, bus;
  sscanf(id, "%x:%x", &domain, &bus);
  return *device = new int(bus - 1), 0;
}
API int nvmlDeviceGetHandleByUUID(const char* uuid, int** device) {
  return *device = new int(std::stoi(std::string(uuid).substr(4, 2), nullptr, 16)), 0;
}
API int nvmlDeviceGetName(int*, char* name, unsigned length) { return cuDeviceGetName(name, length, 0); }
API int nvmlDeviceGetUUID(int* device, char* uuid, unsigned length) {
  return snprintf(uuid, length, "GPU-%02x111111-1111-1111-1111-111111111111", *device), 0;
}
API int nvmlDeviceGetMemoryInfo(int*, unsigned long long* bytes) {  // total, free, used
  return bytes[0] = memory_bytes(), bytes[1] = bytes[0] - kReserved, bytes[2] = kReserved, 0;
}
API int nvmlDeviceGetPowerUsage(int*, unsigned* mw) { return *mw = 300000, 0; }
API int nvmlDeviceGetEnforcedPowerLimit(int*, unsigned* mw) { return *mw = 700000, 0; }
API int nvmlDeviceGetTotalEnergyConsumption(int*, unsigned long long* mj) {
  return *mj = now() / 100'000'000 * 30'000, 0;
}
API int nvmlDeviceGetClockInfo(int*, int kind, unsigned* mhz) { return *mhz = kind == 2 ? 2619 : 1980, 0; }
API int nvmlDeviceGetMaxClockInfo(int*, int kind, unsigned* mhz) { return *mhz = kind == 2 ? 2619 : 1980, 0; }
API int nvmlDeviceGetTemperature(int*, int, unsigned* celsius) { return *celsius = 45, 0; }
API int nvmlDeviceGetUtilizationRates(int*, unsigned* percent) { return percent[0] = percent[1] = 90, 0; }
API int nvmlDeviceGetMigMode(int*, unsigned* now, unsigned* later) { return *now = *later = 0, 0; }
API int nvmlDeviceGetEccMode(int*, int* now, int* later) { return *now = *later = 1, 0; }
API int nvmlDeviceGetCurrentClocksEventReasons(int*, unsigned long long* reasons) { return *reasons = 0, 0; }
REFUSES(nvmlDeviceGetComputeRunningProcesses_v3)
REFUSES(nvmlDeviceGetCurrPcieLinkGeneration)
REFUSES(nvmlDeviceGetGpuFabricInfoV)
REFUSES(nvmlDeviceGetNvLinkState)
REFUSES(nvmlDeviceGetPowerManagementDefaultLimit)
REFUSES(nvmlDeviceGetTotalEccErrors)
REFUSES(nvmlDeviceIsMigDeviceHandle)
REFUSES(nvmlDeviceGetMPSComputeRunningProcesses_v3)
