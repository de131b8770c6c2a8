// cuDNN's backend, as libtorch asks it: descriptors remember what they are told, heuristics answer
// with engines, and a plan answers with its engine's workspace. Numbers of types and attributes are
// those of `cudnn_graph.h` 9.19.
//
// Engines come from the file of the setting `workspaces`, which lists for each convolution what the
// real cuDNN answers. A line is
//
//     operation data_type channels_last n c h w k r stride: notes/bytes notes/bytes ...
//
// with the operation as cuDNN numbers it (10 forward, 11 weight gradient, 12 input gradient), `notes`
// the bits of the numerical notes, and the engines in the order of the heuristics.
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>

#include "standin.h"

using namespace standin;

namespace {

enum Type { kEngine = 2, kEngineConfig = 3, kPlan = 5, kForward = 10, kFilter = 11, kData = 12 };
enum Attribute {
  kHeuristicsGraph = 201,
  kHeuristicsResults = 202,
  kConfigEngine = 300,
  kPlanConfig = 401,
  kPlanWorkspace = 402,
  kGraphOperations = 801,
  kTensorType = 901,
  kTensorSizes = 902,
  kTensorStrides = 903,
  kConvolutionStrides = 103,
  kEngineIndex = 1301,
  kEngineNotes = 1303,
};
constexpr int kDescriptorType = 15, kInt64 = 3;
// TENSOR_CORE and DOWN_CONVERT_INPUTS: what fp32 with TF32 has.
constexpr unsigned kTf32Notes = 0b11;

struct Engine {
  unsigned notes = 0;
  int64_t workspace_bytes = 0;
};

struct Node;
using Shared = std::shared_ptr<Node>;

struct Values {
  std::vector<char> bytes;
  std::vector<Shared> nodes;
};

struct Node {
  int type = 0;
  std::map<int, Values> values;
  // Of an engine, and of a configuration with it.
  int index = 0;
  Engine engine;

  const Node* child(int attribute) const {
    const auto it = values.find(attribute);
    return it == values.end() || it->second.nodes.empty() ? nullptr : it->second.nodes[0].get();
  }
  template <typename T>
  std::vector<T> list(int attribute) const {
    const auto it = values.find(attribute);
    if (it == values.end()) return {};
    std::vector<T> all(it->second.bytes.size() / sizeof(T));
    std::memcpy(all.data(), it->second.bytes.data(), all.size() * sizeof(T));
    return all;
  }
};

Node& node(void* descriptor) { return **static_cast<Shared*>(descriptor); }

size_t size_of(int type) {
  switch (type) {
    case 0: case 3: case 5: case 6: case kDescriptorType: return 8;
    case 2: case 24: return 1;
    default: return 4;
  }
}

const std::map<std::string, std::vector<Engine>>& known_engines() {
  static const auto& all = *new auto([] {
    std::map<std::string, std::vector<Engine>> all;
    std::ifstream file(settings().workspaces);
    for (std::string line; std::getline(file, line);) {
      const auto colon = line.find(':');
      if (colon == std::string::npos) continue;
      std::istringstream engines(line.substr(colon + 1));
      auto& list = all[line.substr(0, colon)];
      for (Engine engine; engines >> engine.notes && engines.get() == '/' && engines >> engine.workspace_bytes;) {
        list.push_back(engine);
      }
    }
    return all;
  }());
  return all;
}

// The convolution of an operation, as a line of the file names it.
std::string name_of(const Node& operation) {
  const bool is_forward = operation.type == kForward, is_data = operation.type == kData;
  const int x = is_forward ? 704 : is_data ? 710 : 716;
  const int w = is_forward ? 703 : is_data ? 709 : 715;
  const int descriptor = is_forward ? 702 : is_data ? 708 : 714;
  const Node *image = operation.child(x), *weight = operation.child(w), *convolution = operation.child(descriptor);
  if (!image || !weight || !convolution) return "?";
  const auto sizes = image->list<int64_t>(kTensorSizes), strides = image->list<int64_t>(kTensorStrides);
  const auto kernel = weight->list<int64_t>(kTensorSizes);
  const auto stride = convolution->list<int64_t>(kConvolutionStrides);
  const auto type = image->list<int>(kTensorType);
  if (sizes.size() != 4 || kernel.size() != 4 || stride.empty() || type.empty()) return "?";
  std::ostringstream name;
  name << operation.type << ' ' << type[0] << ' ' << (strides[1] == 1 && sizes[1] > 1) << ' ' << sizes[0] << ' '
       << sizes[1] << ' ' << sizes[2] << ' ' << sizes[3] << ' ' << kernel[0] << ' ' << kernel[2] << ' ' << stride[0];
  return name.str();
}

std::vector<Engine> engines_of(const Node* graph) {
  const Node* operation = graph ? graph->child(kGraphOperations) : nullptr;
  if (!operation) return {Engine{}};
  const std::string name = name_of(*operation);
  const auto it = known_engines().find(name);
  journal("convolution %s%s", name.c_str(), it == known_engines().end() ? " unknown" : "");
  if (it != known_engines().end()) return it->second;
  return {Engine{kTf32Notes, 0}, Engine{}};
}

int get_nodes(Node& from, int attribute, int64_t wanted, int64_t* count, void** out) {
  if (attribute == kHeuristicsResults) {
    const auto engines = engines_of(from.child(kHeuristicsGraph));
    if (wanted == 0 || !out) {
      *count = static_cast<int64_t>(engines.size());
      return 0;
    }
    *count = std::min<int64_t>(wanted, static_cast<int64_t>(engines.size()));
    for (int64_t i = 0; i < *count; ++i) {
      node(out[i]).index = static_cast<int>(i);
      node(out[i]).engine = engines[i];
    }
    return 0;
  }
  const Node* source = attribute == kConfigEngine ? &from : from.child(attribute);
  if (count) *count = source ? 1 : 0;
  if (source && wanted > 0 && out) {
    node(out[0]).index = source->index;
    node(out[0]).engine = source->engine;
  }
  return 0;
}

template <typename T>
int answer(const std::vector<T>& all, int64_t wanted, int64_t* count, void* out) {
  if (count) *count = static_cast<int64_t>(all.size());
  if (out) std::memcpy(out, all.data(), sizeof(T) * std::min<size_t>(all.size(), static_cast<size_t>(wanted)));
  return 0;
}

}  // namespace

extern "C" {

size_t cudnnGetVersion() { return 91900; }
size_t cudnnGetCudartVersion() { return 13000; }

const char* cudnnGetErrorString(int status) {
  return status == 4004 ? "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"
         : status     ? "CUDNN_STATUS_EXECUTION_FAILED"
                      : "CUDNN_STATUS_SUCCESS";
}

void cudnnGetLastErrorString(char* out, size_t length) {
  if (length) *out = 0;
}

int cudnnBackendCreateDescriptor(int type, void** out) {
  auto made = std::make_shared<Node>();
  made->type = type;
  *out = new Shared(std::move(made));
  return 0;
}

int cudnnBackendDestroyDescriptor(void* descriptor) {
  delete static_cast<Shared*>(descriptor);
  return 0;
}

int cudnnBackendFinalize(void*) { return 0; }

int cudnnBackendSetAttribute(void* descriptor, int attribute, int type, int64_t count, const void* elements) {
  Values& values = node(descriptor).values[attribute];
  values = {};
  if (type == kDescriptorType) {
    for (int64_t i = 0; i < count; ++i) {
      const auto* given = static_cast<Shared* const*>(elements)[i];
      if (given) values.nodes.push_back(*given);
    }
  } else if (elements) {
    const auto* first = static_cast<const char*>(elements);
    values.bytes.assign(first, first + static_cast<size_t>(count) * size_of(type));
  }
  return 0;
}

int cudnnBackendGetAttribute(void* descriptor, int attribute, int type, int64_t wanted, int64_t* count, void* out) {
  Node& from = node(descriptor);
  if (type == kDescriptorType) return get_nodes(from, attribute, wanted, count, static_cast<void**>(out));
  if (attribute == kPlanWorkspace) {
    const Node* config = from.child(kPlanConfig);
    return answer(std::vector<int64_t>{config ? config->engine.workspace_bytes : 0}, wanted, count, out);
  }
  if (attribute == kEngineIndex) return answer(std::vector<int64_t>{from.index}, wanted, count, out);
  if (attribute == kEngineNotes) {
    std::vector<int> notes;
    for (int note = 0; note < 10; ++note) {
      if (from.engine.notes >> note & 1) notes.push_back(note);
    }
    return answer(notes, wanted, count, out);
  }
  const auto it = from.values.find(attribute);
  return answer(it == from.values.end() ? std::vector<char>{} : it->second.bytes, wanted * static_cast<int64_t>(size_of(type)), count, out);
}

int cudnnBackendExecute(void*, void*, void*) { return 0; }

int cudnnGetStream(void*, void** stream) {
  *stream = nullptr;
  return 0;
}

int cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize(void*, int, int, void*, void*, void*, void*, void*, size_t* bytes) {
  *bytes = 0;
  return 0;
}

int cudnnGetBatchNormalizationTrainingExReserveSpaceSize(void*, int, int, void*, void*, size_t* bytes) {
  *bytes = 0;
  return 0;
}

int cudnnGetBatchNormalizationBackwardExWorkspaceSize(void*, int, int, void*, void*, void*, void*, void*, void*, void*, size_t* bytes) {
  *bytes = 0;
  return 0;
}

}  // extern "C"
