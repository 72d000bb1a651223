// A folder with files that live as long as a test needs them.
#ifndef TANDEM_TESTS_UNIT_COMMON_TEXT_TEMPORARY_FILE_H_
#define TANDEM_TESTS_UNIT_COMMON_TEXT_TEMPORARY_FILE_H_

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace tandem {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    static int count = 0;
    path_ = ::testing::TempDir() + "/text_test_" + std::to_string(::getpid()) + "_" +
            std::to_string(count++);
    std::filesystem::create_directories(path_);
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::string& path() const { return path_; }
  // The path of the file that is written.
  std::string Write(const std::string& name, const std::string& bytes) const {
    const std::string path = path_ + "/" + name;
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }

 private:
  std::string path_;
};

inline std::string ReadBytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.good()) << path;
  return std::string(std::istreambuf_iterator<char>(in), {});
}

}  // namespace tandem

#endif  // TANDEM_TESTS_UNIT_COMMON_TEXT_TEMPORARY_FILE_H_
