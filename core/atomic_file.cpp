#include "core/atomic_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <new>
#include <string>
#include <system_error>
#include <utility>

#include "core/error.hpp"
#include "core/input_file.hpp"
#include "core/text.hpp"

namespace slicereduce {

namespace {

/// Before there are threads: asking for it changes it for a moment.
const mode_t kMask = [] {
  const mode_t mask = ::umask(0);
  ::umask(mask);
  return mask;
}();

constexpr std::size_t kAlignment = 4096;
constexpr std::size_t kStaged = std::size_t{4} << 20;

/// So that the rename outlives a power failure. It is done, and valid: who can't sync folders is not to
/// blame.
void sync_folder(const std::filesystem::path& folder) {
  const int handle = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (handle >= 0) {
    (void)::fsync(handle);
    ::close(handle);
  }
}

}  // namespace

AtomicFile::AtomicFile(std::filesystem::path path)
    : path_(std::move(path)),
      beside_(path_.string() + ".XXXXXX"),
      staged_(static_cast<std::byte*>(std::aligned_alloc(kAlignment, kStaged))) {
  if (!staged_) {
    throw std::bad_alloc();
  }
  descriptor_ = ::mkostemp(beside_.data(), O_CLOEXEC);
  if (descriptor_ < 0) {
    throw Error(ErrorKind::io,
                concat("cannot create a file beside ", path_.string(), ": ", std::strerror(errno)));
  }
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) {
    ::close(descriptor_);
  }
  if (!committed_) {
    ::unlink(beside_.c_str());
  }
}

void AtomicFile::Free::operator()(std::byte* memory) const { std::free(memory); }

void AtomicFile::fail(const char* what) const {
  throw Error(ErrorKind::io, concat("cannot ", what, " ", path_.string(), ": ", std::strerror(errno)));
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const std::size_t some = std::min(bytes.size(), kStaged - staged_bytes_);
    std::memcpy(staged_.get() + staged_bytes_, bytes.data(), some);
    staged_bytes_ += some;
    bytes = bytes.subspan(some);
    if (staged_bytes_ == kStaged) {
      bypass_cache(true);
      write_out({staged_.get(), std::exchange(staged_bytes_, 0)});
    }
  }
}

void AtomicFile::bypass_cache(bool bypass) {
  if (bypass == bypasses_cache_ || (bypass && !can_bypass_)) {
    return;
  }
  const int flags = ::fcntl(descriptor_, F_GETFL);
  const int changed = bypass ? flags | O_DIRECT : flags & ~O_DIRECT;
  const bool done = flags >= 0 && ::fcntl(descriptor_, F_SETFL, changed) == 0;
  if (!done && !bypass) {
    fail("write");
  }
  can_bypass_ = can_bypass_ && done;
  bypasses_cache_ = bypass && done;
}

void AtomicFile::write_out(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) {
      continue;
    }
    if (written < 0 && errno == EINVAL && bypasses_cache_) {
      can_bypass_ = false;  // a file system that only says now that it can't
      bypass_cache(false);
      continue;
    }
    if (written < 0) {
      fail("write");
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void AtomicFile::commit() {
  bypass_cache(false);  // only whole blocks can
  write_out({staged_.get(), std::exchange(staged_bytes_, 0)});
  // mkostemp's 0600 would surprise whoever shares the run: give the file the user's usual mode.
  if (::fchmod(descriptor_, 0666 & ~kMask) != 0 || ::fsync(descriptor_) != 0) {
    fail("write");
  }
  if (::close(std::exchange(descriptor_, -1)) != 0) {  // a full disk may only be told here
    fail("write");
  }
  if (::rename(beside_.c_str(), path_.c_str()) != 0) {
    fail("rename a file beside it to");
  }
  committed_ = true;
  sync_folder(path_.has_parent_path() ? path_.parent_path() : ".");
}

void write_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

void link_atomically(const std::filesystem::path& existing, const std::filesystem::path& path) {
  // A link needs a name that is free, so it is made in a folder that nobody else can have.
  std::string beside = path.string() + ".XXXXXX";
  if (::mkdtemp(beside.data()) == nullptr) {
    throw Error(ErrorKind::io,
                concat("cannot create a folder beside ", path.string(), ": ", std::strerror(errno)));
  }
  const auto name = std::filesystem::path(beside) / "file";
  std::error_code problem;
  std::filesystem::create_hard_link(existing, name, problem);
  const bool linked = !problem;
  if (linked) {
    std::filesystem::rename(name, path, problem);
  }
  std::error_code ignored;
  std::filesystem::remove_all(beside, ignored);
  if (!linked) {
    write_atomically(path, read_whole(existing));
  } else if (problem) {
    throw Error(ErrorKind::io, concat("cannot write ", path.string(), ": ", problem.message()));
  }
}

void require_plain_file_or_none(const std::filesystem::path& path) {
  std::error_code problem;
  const auto status = std::filesystem::symlink_status(path, problem);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    throw Error(ErrorKind::input,
                concat(path.string(), " is a link or something else that is no file: remove it"));
  }
}

}  // namespace slicereduce
