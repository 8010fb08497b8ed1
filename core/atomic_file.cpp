#include "core/atomic_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>
#include <utility>

#include "core/error.hpp"
#include "core/text.hpp"

namespace slicereduce {

namespace {

[[noreturn]] void fail(const char* what, const std::filesystem::path& path) {
  throw Error(ErrorKind::io, concat("cannot ", what, " ", path.string(), ": ", std::strerror(errno)));
}

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) {
      ::close(number_);
    }
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  [[nodiscard]] int get() const { return number_; }
  // A full disk may only be told at close.
  [[nodiscard]] bool close() { return ::close(std::exchange(number_, -1)) == 0; }

 private:
  int number_;
};

/// Removes the half-written file unless the rename happened.
class Unfinished {
 public:
  explicit Unfinished(std::filesystem::path path) : path_(std::move(path)) {}
  ~Unfinished() {
    if (!path_.empty()) {
      ::unlink(path_.c_str());
    }
  }
  Unfinished(const Unfinished&) = delete;
  Unfinished& operator=(const Unfinished&) = delete;

  void finished() { path_.clear(); }

 private:
  std::filesystem::path path_;
};

void write_all(const Descriptor& file, std::span<const std::byte> bytes, const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) {
      continue;
    }
    if (written < 0) {
      fail("write", path);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

/// Before there are threads: asking for it changes it for a moment.
const mode_t kMask = [] {
  const mode_t mask = ::umask(0);
  ::umask(mask);
  return mask;
}();

std::uint64_t memory_bytes() {
  return static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
         static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

void sync_folder(const std::filesystem::path& folder) {
  const Descriptor handle(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (handle.get() < 0 || ::fsync(handle.get()) != 0) {
    fail("sync folder", folder);
  }
}

}  // namespace

void write_atomically(const std::filesystem::path& path, std::span<const std::span<const std::byte>> pieces) {
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  std::string beside = path.string() + ".XXXXXX";
  Descriptor file(::mkostemp(beside.data(), O_CLOEXEC));
  if (file.get() < 0) {
    fail("create a file beside", path);
  }
  Unfinished unfinished(beside);
  for (const auto& piece : pieces) {
    write_all(file, piece, beside);
  }
  // mkostemp's 0600 would surprise whoever shares the run: give the file the user's usual mode.
  if (::fchmod(file.get(), 0666 & ~kMask) != 0 || ::fsync(file.get()) != 0 || !file.close()) {
    fail("write", beside);
  }
  if (::rename(beside.c_str(), path.c_str()) != 0) {
    fail("rename to", path);
  }
  unfinished.finished();
  sync_folder(folder);
}

void write_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  const std::array<std::span<const std::byte>, 1> pieces{bytes};
  write_atomically(path, pieces);
}

void require_plain_file_or_none(const std::filesystem::path& path) {
  std::error_code problem;
  const auto status = std::filesystem::symlink_status(path, problem);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    throw Error(ErrorKind::input,
                concat(path.string(), " is a link or something else that is no file: remove it"));
  }
}

std::vector<std::byte> read_whole(const std::filesystem::path& path) {
  std::error_code problem;
  const auto status = std::filesystem::status(path, problem);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    const bool is_folder = std::filesystem::is_directory(status);
    throw Error(ErrorKind::input, concat("cannot read ", path.string(), ": it is ",
                                         is_folder ? "a folder" : "no file, but a pipe or a device"));
  }
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) {
    throw Error(ErrorKind::input, concat("cannot read ", path.string(), ": ", std::strerror(errno)));
  }
  const auto size = static_cast<std::uint64_t>(file.tellg());
  if (size > memory_bytes()) {
    throw Error(ErrorKind::io,
                concat("cannot read ", path.string(), ": its ", size, " bytes don't fit into memory"));
  }
  std::vector<std::byte> bytes(size);
  file.seekg(0);
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (!file) {
    throw Error(ErrorKind::io, concat("cannot read ", path.string(), " to its end"));
  }
  return bytes;
}

}  // namespace slicereduce
