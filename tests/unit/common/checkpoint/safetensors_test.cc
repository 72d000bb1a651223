#include "common/checkpoint/safetensors.h"

#include <sys/stat.h>

#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/common/checkpoint/scratch_folder.h"

namespace tandem {
namespace {

using ::testing::ElementsAre;
using ::testing::Key;
using ::testing::Pair;

// A file of this header and `data_bytes` zeros.
std::string FileOf(const std::string& header, size_t data_bytes) {
  const uint64_t size = header.size();
  std::string file(8, '\0');
  std::memcpy(file.data(), &size, 8);
  return file + header + std::string(data_bytes, '\0');
}

std::string Tensor(const std::string& name, const std::string& dtype, const std::string& shape,
                   const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":" + offsets + "}";
}

// What a file of this header is refused with.
std::string Refusal(const std::string& header, size_t data_bytes) {
  const absl::StatusOr<SafetensorsHeader> parsed = ParseSafetensorsHeader(
      header, static_cast<int64_t>(kSafetensorsPrefixBytes + header.size() + data_bytes));
  if (parsed.ok()) return "accepted";
  EXPECT_EQ(parsed.status().code(), absl::StatusCode::kDataLoss);
  return std::string(parsed.status().message());
}

TEST(SafetensorsHeaderTest, ReadsTensorsInTheOrderOfTheirData) {
  const std::string header =
      "{\"__metadata__\":{\"format\":\"pt\"}," + Tensor("b", "F32", "[2,3]", "[2,26]") + "," +
      Tensor("a", "BF16", "[]", "[0,2]") + "," + Tensor("e", "I64", "[0,5]", "[26,26]") + "," +
      Tensor("f8", "F8_E4M3", "[4]", "[26,30]") + "}  \n";
  const auto parsed = ParseSafetensorsHeader(header, static_cast<int64_t>(8 + header.size() + 30));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_THAT(parsed->metadata, ElementsAre(Pair("format", "pt")));
  ASSERT_EQ(parsed->tensors.size(), 4u);
  const auto data = static_cast<int64_t>(8 + header.size());
  EXPECT_EQ(parsed->tensors[0].name, "a");
  EXPECT_EQ(parsed->tensors[0].dtype, DType::kBF16);
  EXPECT_TRUE(parsed->tensors[0].shape.empty());
  EXPECT_EQ(parsed->tensors[1].name, "b");
  EXPECT_THAT(parsed->tensors[1].shape, ElementsAre(2, 3));
  EXPECT_EQ(parsed->tensors[1].begin, data + 2);
  EXPECT_EQ(parsed->tensors[1].end, data + 26);
  EXPECT_EQ(parsed->tensors[3].dtype, std::nullopt);
  EXPECT_EQ(parsed->tensors[3].dtype_name, "F8_E4M3");
}

TEST(SafetensorsHeaderTest, RefusesWhatDoesNotHold) {
  const std::string a = Tensor("a", "F32", "[2]", "[0,8]");
  const auto with = [&a](const std::string& more) { return "{" + a + "," + more + "}"; };
  EXPECT_EQ(Refusal("", 0), "header does not begin with {: no safetensors file");
  EXPECT_EQ(Refusal(" {}", 0), "header does not begin with {: no safetensors file");
  EXPECT_EQ(Refusal("{", 0), "header is not valid JSON at byte 2");
  EXPECT_EQ(Refusal("{} x", 0), "header is not valid JSON at byte 4");
  EXPECT_EQ(Refusal("{\"\xff\":{}}", 0), "header is not valid JSON at byte 3");
  EXPECT_EQ(Refusal("{\"a\":3}", 0), "tensor \"a\" has a value of a wrong type");
  EXPECT_EQ(Refusal("{\"a\":{}}", 0), "tensor \"a\" lacks one of dtype, shape, data_offsets");
  EXPECT_EQ(Refusal(with(a), 8), "tensor \"a\" is there twice");
  EXPECT_EQ(Refusal("{" + Tensor("a", "F31", "[2]", "[0,8]") + "}", 8),
            "tensor \"a\" has the unknown dtype \"F31\"");
  EXPECT_EQ(Refusal("{" + Tensor("a", "F32", "[3]", "[0,8]") + "}", 8),
            "tensor \"a\" has data_offsets that do not fit its shape");
  EXPECT_EQ(Refusal("{" + Tensor("a", "F32", "[2]", "[8,0]") + "}", 8),
            "tensor \"a\" has data_offsets that do not fit its shape");
  EXPECT_EQ(Refusal("{" + Tensor("a", "F32", "[2]", "[0]") + "}", 8),
            "tensor \"a\" has data_offsets that are not two numbers");
  EXPECT_EQ(Refusal("{" + Tensor("a", "F32", "[-2]", "[0,8]") + "}", 8),
            "tensor \"a\" has a value of a wrong type");
  EXPECT_EQ(Refusal("{" + Tensor("a", "F32", "[2.0]", "[0,8]") + "}", 8),
            "tensor \"a\" has a value of a wrong type");
  EXPECT_EQ(Refusal("{" + Tensor("a", "F32", "[[2]]", "[0,8]") + "}", 8),
            "tensor \"a\" has a value of a wrong type");
  EXPECT_EQ(Refusal("{" + Tensor("a", "F32", "[18446744073709551615]", "[0,8]") + "}", 8),
            "tensor \"a\" has a size beyond 64 bits");
  EXPECT_EQ(Refusal("{" + Tensor("a", "F32", "[4294967296,4294967296]", "[0,8]") + "}", 8),
            "tensor \"a\" is larger than 64 bits count");
  EXPECT_EQ(
      Refusal("{" + Tensor("a", "U8", "[8]", "[9223372036854775799,9223372036854775807]") + "}", 8),
      "tensor \"a\" has data_offsets beyond 64 bits");
  EXPECT_EQ(
      Refusal("{" + Tensor("a", "F32", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2]", "[0,8]") + "}", 8),
      "tensor \"a\" has more than 16 dimensions");
  EXPECT_EQ(Refusal("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}", 8),
            "tensor \"a\" has two fields dtype");
  EXPECT_EQ(Refusal("{\"a\":{\"size\":1}}", 8),
            "tensor \"a\" has a field that is none of dtype, shape, data_offsets");
  EXPECT_EQ(Refusal("{\"a\":{\"shape\":{\"x\":1}}}", 8),
            "tensor \"a\" has an object inside an object");
  EXPECT_EQ(Refusal("{\"" + std::string(2000, 'n') + "\":{}}", 8),
            "tensor \"" + std::string(100, 'n') + "\" has a name of more than 1,024 bytes");
  EXPECT_EQ(Refusal("{\"__metadata__\":{\"a\":1}}", 0),
            "tensor \"__metadata__\" has a value of a wrong type");
  EXPECT_EQ(Refusal(with(Tensor("b", "F32", "[2]", "[4,12]")), 12),
            "tensor \"b\" overlaps the one before it");
  EXPECT_EQ(Refusal(with(Tensor("b", "F32", "[1]", "[12,16]")), 16),
            "tensor \"b\" begins after a hole");
}

TEST(SafetensorsHeaderTest, RefusesTooManyTensors) {
  std::string header = "{";
  for (int i = 0; i <= 100'000; ++i) {
    if (i > 0) header.push_back(',');
    header.append(Tensor(std::to_string(i), "U8", "[0]", "[0,0]"));
  }
  header.push_back('}');
  EXPECT_EQ(Refusal(header, 0), "tensor \"100000\" is one too many: more than 100,000");
}

TEST(SafetensorsFileTest, RefusesPipes) {
  const ScratchFolder folder;
  ASSERT_EQ(mkfifo(folder.File("pipe").c_str(), 0600), 0);
  EXPECT_EQ(SafetensorsFile::Open(folder.File("pipe")).status().message(),
            folder.File("pipe") + ": is not a regular file");
}

TEST(SafetensorsFileTest, RefusesDamagedFilesByPath) {
  const ScratchFolder folder;
  const auto refusal = [&folder](const std::string& bytes) {
    const std::string path = folder.Write("f", bytes);
    const absl::Status status = SafetensorsFile::Open(path).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
    const std::string message(status.message());
    EXPECT_EQ(message.substr(0, path.size() + 2), path + ": ");
    return message.substr(std::min(message.size(), path.size() + 2));
  };
  const std::string header = "{" + Tensor("a", "F32", "[2]", "[0,8]") + "}";
  EXPECT_EQ(refusal(""), "has 0 bytes; a safetensors file has at least 8");
  EXPECT_EQ(refusal("1234567"), "has 7 bytes; a safetensors file has at least 8");
  EXPECT_EQ(refusal(std::string(8, '\0')), "header does not begin with {: no safetensors file");
  EXPECT_EQ(refusal(std::string("\x09\0\0\0\0\0\0\0{}", 10)),
            "header would have 9 bytes, but the file has 10: it is cut short");
  EXPECT_EQ(refusal(std::string(8, '\xff')),
            "header would have 18446744073709551615 bytes, more than 100,000,000: no safetensors "
            "file");
  EXPECT_EQ(refusal(FileOf(header, 7)),
            "tensor \"a\" ends at byte 70, but the file has 69: it is cut short");
  EXPECT_EQ(refusal(FileOf(header, 9)), "the data should end at byte 70, but the file has 71");
  EXPECT_EQ(SafetensorsFile::Open(folder.File("none")).status(),
            absl::NotFoundError(folder.File("none") + ": No such file or directory"));
  EXPECT_EQ(SafetensorsFile::Open(folder.path()).status(),
            absl::InvalidArgumentError(folder.path() + ": is not a regular file"));
}

HostTensor Floats(const std::vector<float>& values) {
  HostTensor tensor{DType::kF32, {static_cast<int64_t>(values.size())}, {}};
  const auto* bytes = reinterpret_cast<const std::byte*>(values.data());
  tensor.bytes.assign(bytes, bytes + values.size() * sizeof(float));
  return tensor;
}

TEST(SafetensorsWriterTest, WhatIsWrittenIsReadBack) {
  const ScratchFolder folder;
  HostTensor flags{DType::kBool, {3}, {std::byte{1}, std::byte{0}, std::byte{1}}};
  const std::map<std::string, HostTensor> tensors = {
      {"flags", flags}, {"x", Floats({1.5f, -2.0f})}, {"\"quoted\" \xc3\xa9", Floats({})}};
  ASSERT_TRUE(WriteSafetensors(folder.File("f"), tensors).ok());
  const auto read = ReadSafetensors(folder.File("f"));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_THAT(*read, ElementsAre(Key("\"quoted\" \xc3\xa9"), Key("flags"), Key("x")));
  EXPECT_EQ(read->at("flags").dtype, DType::kBool);
  EXPECT_EQ(read->at("flags").bytes, flags.bytes);
  EXPECT_THAT(read->at("x").As<float>(), ElementsAre(1.5f, -2.0f));
  EXPECT_EQ(read->at("x").num_elements(), 2);
  // The wider type lies first, so that it is aligned.
  const auto file = SafetensorsFile::Open(folder.File("f"));
  EXPECT_EQ(file->header().tensors.back().name, "flags");
  EXPECT_EQ(file->header().tensors.front().begin % 8, 0);
  EXPECT_FALSE(std::filesystem::exists(folder.File("f.partial")));
}

TEST(SafetensorsWriterTest, PiecesInAnyOrderGiveTheSameFile) {
  const ScratchFolder folder;
  const HostTensor x = Floats({1, 2, 3, 4});
  const HostTensor y = Floats({5});
  ASSERT_TRUE(WriteSafetensors(folder.File("whole"), {{"x", x}, {"y", y}}).ok());
  auto writer = SafetensorsWriter::Create(folder.File("pieces"),
                                          {{"y", DType::kF32, {1}}, {"x", DType::kF32, {4}}});
  ASSERT_TRUE(writer.ok());
  const absl::Span<const std::byte> bytes(x.bytes);
  ASSERT_TRUE((*writer)->Write("x", 8, bytes.subspan(8)).ok());
  ASSERT_TRUE((*writer)->Write("y", 0, y.bytes).ok());
  EXPECT_FALSE(std::filesystem::exists(folder.File("pieces")));
  ASSERT_TRUE((*writer)->Write("x", 0, bytes.subspan(0, 8)).ok());
  ASSERT_TRUE((*writer)->Finish().ok());
  EXPECT_EQ(folder.Read("pieces"), folder.Read("whole"));
}

TEST(SafetensorsWriterTest, UnfinishedFilesAreRemoved) {
  const ScratchFolder folder;
  {
    auto writer = SafetensorsWriter::Create(folder.File("f"), {{"x", DType::kF32, {4}}});
    ASSERT_TRUE(writer.ok());
    EXPECT_TRUE(std::filesystem::exists(folder.File("f.partial")));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  EXPECT_EQ(SafetensorsWriter::Create("/nowhere/f", {}).status().message(),
            "/nowhere/f.partial: cannot be created: No such file or directory");
}

TEST(SafetensorsWriterDeathTest, MissingBytesAreABug) {
  const ScratchFolder folder;
  auto writer = SafetensorsWriter::Create(folder.File("f"), {{"x", DType::kF32, {4}}});
  EXPECT_DEATH((void)(*writer)->Finish(), "missing_bytes_ == 0");
}

}  // namespace
}  // namespace tandem
