// Prints for each file "ok", or why its header is refused. For safetensors_difftest.py.
#include <cstdio>
#include <string>

#include "common/checkpoint/safetensors.h"

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const absl::Status status = tandem::SafetensorsFile::Open(argv[i]).status();
    std::printf("%s\n", status.ok() ? "ok" : std::string(status.message()).c_str());
  }
  return 0;
}
