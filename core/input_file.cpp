#include "core/input_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "core/error.hpp"
#include "core/text.hpp"

namespace slicereduce {

namespace {

std::uint64_t memory_bytes() {
  return static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
         static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

[[noreturn]] void refuse(const std::filesystem::path& path, ErrorKind kind, const std::string& why) {
  throw Error(kind, concat("cannot read ", path.string(), ": ", why));
}

[[noreturn]] void refuse(const std::filesystem::path& path, int why) {
  const bool stays_so = why == ENOENT || why == EACCES || why == EPERM || why == ENOTDIR || why == ELOOP;
  refuse(path, stays_so ? ErrorKind::input : ErrorKind::io, std::strerror(why));
}

}  // namespace

InputFile::InputFile(std::filesystem::path path) : path_(std::move(path)) {
  // Non-blocking: to open a pipe waits for a writer. Of files it says nothing.
  descriptor_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor_ < 0) {
    errno == ENXIO ? refuse(path_, ErrorKind::input, "it is no file, but a socket or a device")
                   : refuse(path_, errno);
  }
  struct stat status {};
  const int why = ::fstat(descriptor_, &status) == 0 ? 0 : errno;
  if (why == 0 && S_ISREG(status.st_mode)) {
    size_ = static_cast<std::uint64_t>(status.st_size);
    return;
  }
  ::close(std::exchange(descriptor_, -1));
  if (why != 0) {
    refuse(path_, why);
  }
  refuse(path_, ErrorKind::input,
         S_ISDIR(status.st_mode) ? "it is a folder" : "it is no file, but a pipe or a device");
}

InputFile::~InputFile() {
  if (descriptor_ >= 0) {
    ::close(descriptor_);
  }
}

InputFile::InputFile(InputFile&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      size_(std::exchange(other.size_, 0)) {}

InputFile& InputFile::operator=(InputFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(size_, other.size_);
  return *this;
}

void InputFile::read_at(std::uint64_t offset, std::span<std::byte> into) const {
  while (!into.empty()) {
    const auto got = ::pread(descriptor_, into.data(), into.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      refuse(path_, ErrorKind::io, std::strerror(errno));
    }
    if (got == 0) {
      refuse(path_, ErrorKind::io, concat("it ends at byte ", offset, ", before what is to be read"));
    }
    offset += static_cast<std::uint64_t>(got);
    into = into.subspan(static_cast<std::size_t>(got));
  }
}

std::vector<std::byte> read_whole(const std::filesystem::path& path) {
  const InputFile file(path);
  if (file.size() > memory_bytes()) {
    refuse(path, ErrorKind::io, concat("its ", file.size(), " bytes don't fit into memory"));
  }
  std::vector<std::byte> bytes(file.size());
  file.read_at(0, bytes);
  return bytes;
}

}  // namespace slicereduce
