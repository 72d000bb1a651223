// The folder that a path lies in.
#ifndef TANDEM_COORDINATOR_IO_FOLDER_OF_H_
#define TANDEM_COORDINATOR_IO_FOLDER_OF_H_

#include <string>

namespace tandem {

// "a/b" -> "a", "/b" -> "/", "b" -> ".".
inline std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_IO_FOLDER_OF_H_
