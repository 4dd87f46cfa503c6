#include "nn/tensor_file.h"

#include <cstdint>
#include <cstring>
#include <string>

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/zeros.h>

#include "core/error.h"
#include "io/safetensors.h"
#include "temp_folder.h"
#include "torch_support.h"

namespace lowbank {
namespace {

using testing::TempFolder;

class TensorFileTest : public testing::SeededTest {
 protected:
  TempFolder folder_;
  std::string path_ = folder_.path("tensors.safetensors");
};

TEST_F(TensorFileTest, EveryTypeComesBackBitForBit) {
  std::map<std::string, torch::Tensor> tensors;
  for (const auto type : {c10::kBool, c10::kByte, c10::kChar, c10::kShort, c10::kInt, c10::kLong,
                          c10::kHalf, c10::kBFloat16, c10::kFloat, c10::kDouble}) {
    tensors[c10::toString(type)] = (at::randn({3, 4}) * 10).to(type);
  }
  tensors["scalar"] = at::scalar_tensor(2.5);
  tensors["empty"] = at::zeros({0, 3});
  write_tensors(path_, tensors);
  const auto read = read_tensors(path_);
  ASSERT_EQ(read.size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    EXPECT_EQ(read.at(name).scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(at::equal(read.at(name), tensor)) << name;
  }
}

TEST_F(TensorFileTest, ATransposedTensorIsWrittenInItsOwnOrder) {
  const auto transposed = at::arange(6).view({2, 3}).t();
  write_tensors(path_, {{"x", transposed}});
  EXPECT_TRUE(at::equal(read_tensors(path_).at("x"), transposed));
}

TEST_F(TensorFileTest, ReadTensorsMayBeWrittenTo) {
  write_tensors(path_, {{"x", at::zeros({4})}});
  auto x = read_tensors(path_).at("x");
  x.add_(1.0);
  EXPECT_EQ(x.sum().item<double>(), 4.0);
}

TEST_F(TensorFileTest, AViewOutlivesTheFileObject) {
  const auto values = at::randn({5});
  write_tensors(path_, {{"x", values}});
  torch::Tensor view;
  {
    const auto file = SafetensorsFile::open(path_);
    view = view_tensor(file, *file->find("x"));
  }
  EXPECT_TRUE(at::equal(view, values));
}

// Writers need not pad the header, so values may begin at any byte.
TEST_F(TensorFileTest, UnalignedValuesAreReadRight) {
  for (std::size_t pad = 0; pad < 8; ++pad) {
    const std::string header =
        R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})" + std::string(pad, ' ');
    const std::uint64_t size = header.size();
    const float values[2] = {1.5f, -2.25f};
    std::string bytes(8, '\0');
    std::memcpy(bytes.data(), &size, 8);
    bytes += header;
    bytes.append(reinterpret_cast<const char*>(values), sizeof(values));
    const auto x = read_tensors(folder_.file("unaligned.safetensors", bytes)).at("x");
    EXPECT_EQ(x[0].item<float>(), 1.5f) << pad;
    EXPECT_EQ(x[1].item<float>(), -2.25f) << pad;
  }
}

TEST_F(TensorFileTest, AMissingFileIsAnIoError) {
  EXPECT_THROW(read_tensors(folder_.path("absent.safetensors")), IoError);
}

}  // namespace
}  // namespace lowbank
