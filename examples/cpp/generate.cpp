// Greedy text, as token ids, from the fused graph that `gptneo-onnx export CHECKPOINT OUT` writes.
//
//     g++ -std=c++17 -O2 generate.cpp -I INCLUDE -L LIB -lonnxruntime -o generate
//     echo 1026 318 257 3872 | ./generate OUT NEW_TOKENS
//
// A layer's past and present are the same tensor: the graph updates it in place without a copy.
// docs/graphs.md says what each input means.

#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <cstdint>
#include <iostream>
#include <iterator>
#include <numeric>
#include <string>
#include <vector>

namespace {

constexpr std::size_t kChunk = 256;  // of a prompt; longer steps are slower
const std::string kPast = "past_key_values.";

Ort::SessionOptions Options() {
  Ort::SessionOptions options;
  options.AddConfigEntry("session.set_denormal_as_zero", "1");  // several times faster on x86
  return options;
}

class Model {
 public:
  Model(const std::string& graph, std::int64_t capacity)
      : session_(environment_, graph.c_str(), Options()), binding_(session_) {
    for (std::size_t index = 0; index < session_.GetInputCount(); ++index) {
      const std::string name = session_.GetInputNameAllocated(index, allocator_).get();
      if (name.rfind(kPast, 0) == 0) BindCache(name, index, capacity);
    }
    // hidden_states is not bound, so it is not returned.
    const auto logits = session_.GetOutputTypeInfo(0).GetTensorTypeAndShapeInfo().GetShape();
    logits_.resize(logits.at(1));
  }

  // Appends tokens to the sequence and returns the likeliest next token.
  std::int64_t Step(const std::vector<std::int64_t>& ids) {
    const auto count = static_cast<std::int64_t>(ids.size());
    std::vector<std::int64_t> positions(ids.size());
    std::iota(positions.begin(), positions.end(), length_);
    length_ += count;
    const std::vector<std::int32_t> total{static_cast<std::int32_t>(length_)};
    const std::vector<std::int32_t> seqlens_k{total[0] - 1};
    const std::vector<std::int64_t> rows{0, count - 1};
    binding_.BindInput("input_ids", View(ids, {1, count}));
    binding_.BindInput("position_ids", View(positions, {1, count}));
    binding_.BindInput("seqlens_k", View(seqlens_k, {1}));
    binding_.BindInput("total_sequence_length", View(total, {}));
    binding_.BindInput("logits_rows", View(rows, {1, 2}));
    binding_.BindOutput("logits", View(logits_, {1, static_cast<std::int64_t>(logits_.size())}));
    session_.Run(Ort::RunOptions{nullptr}, binding_);
    return std::max_element(logits_.begin(), logits_.end()) - logits_.begin();
  }

 private:
  void BindCache(const std::string& name, std::size_t index, std::int64_t capacity) {
    const auto type = session_.GetInputTypeInfo(index);
    const auto info = type.GetTensorTypeAndShapeInfo();
    auto shape = info.GetShape();  // [batch, heads, capacity, head_dim]
    shape[0] = 1;
    if (shape[2] < 0) shape[2] = capacity;  // local layers fix it: their window
    caches_.push_back(
        Ort::Value::CreateTensor(allocator_, shape.data(), shape.size(), info.GetElementType()));
    const Ort::Value& cache = caches_.back();
    binding_.BindInput(name.c_str(), cache);
    binding_.BindOutput(("present." + name.substr(kPast.size())).c_str(), cache);
  }

  template <typename T>
  Ort::Value View(const std::vector<T>& values, const std::vector<std::int64_t>& shape) {
    return Ort::Value::CreateTensor<T>(memory_, const_cast<T*>(values.data()), values.size(),
                                       shape.data(), shape.size());
  }

  Ort::Env environment_{ORT_LOGGING_LEVEL_ERROR, "gptneo"};
  Ort::AllocatorWithDefaultOptions allocator_;
  Ort::MemoryInfo memory_ = Ort::MemoryInfo::CreateCpu(OrtDeviceAllocator, OrtMemTypeDefault);
  Ort::Session session_;
  Ort::IoBinding binding_;
  std::vector<Ort::Value> caches_;
  std::vector<float> logits_;
  std::int64_t length_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::int64_t> ids{std::istream_iterator<std::int64_t>(std::cin), {}};
  const std::int64_t new_tokens = argc == 3 ? std::atoll(argv[2]) : 0;
  if (ids.empty() || new_tokens < 1) {
    std::cerr << "usage: generate OUT NEW_TOKENS < prompt, as token ids\n";
    return 2;
  }
  try {
    Model model(std::string(argv[1]) + "/model.onnx", ids.size() + new_tokens);
    std::int64_t next = 0;
    for (std::size_t start = 0; start < ids.size(); start += kChunk) {
      const auto end = ids.begin() + std::min(start + kChunk, ids.size());
      next = model.Step({ids.begin() + start, end});
    }
    for (std::int64_t count = 1;; ++count) {
      std::cout << next << (count < new_tokens ? " " : "\n") << std::flush;
      if (count == new_tokens) return 0;
      next = model.Step({next});
    }
  } catch (const Ort::Exception& error) {
    std::cerr << "generate: " << error.what() << "\n";
    return 1;
  }
}
