#include "core/lock_file.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "core/error.hpp"
#include "core/host_name.hpp"
#include "core/text.hpp"

namespace slicereduce {

namespace {

constexpr std::size_t kMostOfHolder = 256;

std::string own_name() {
  return concat("process ", ::getpid(), " on ", host_name().substr(0, kMostOfHolder / 2));
}

/// What its holder wrote; it may be about to.
std::string holder_of(int file) {
  std::array<char, kMostOfHolder> text{};
  const ssize_t count = ::pread(file, text.data(), text.size(), 0);
  return count > 0 ? printable({text.data(), static_cast<std::size_t>(count)}) : "another process";
}

int open_or_throw(const std::filesystem::path& path) {
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (file < 0) {
    throw Error(ErrorKind::input, concat("cannot open ", path.string(), ": ", std::strerror(errno)));
  }
  return file;
}

/// Some network file systems have no locks: then nobody is kept out.
bool is_without_locks(int error) { return error == ENOLCK || error == EOPNOTSUPP || error == ENOSYS; }

}  // namespace

LockFile::LockFile(const std::filesystem::path& path, const std::string& what, const std::string& advice)
    : file_(open_or_throw(path)) {
  if (::flock(file_, LOCK_EX | LOCK_NB) != 0 && !is_without_locks(errno)) {
    const int error = errno;
    const std::string holder = holder_of(file_);
    ::close(file_);
    if (error == EWOULDBLOCK) {
      throw Error(ErrorKind::usage, concat(what, " is in use by ", holder, ": ", advice));
    }
    throw Error(ErrorKind::io, concat("cannot lock ", path.string(), ": ", std::strerror(error)));
  }
  const std::string name = own_name();
  // Only a help for whoever is kept out: a full disk must not end the run here.
  if (::ftruncate(file_, 0) == 0) {
    [[maybe_unused]] const ssize_t written = ::pwrite(file_, name.data(), name.size(), 0);
  }
}

LockFile::~LockFile() { ::close(file_); }

}  // namespace slicereduce
