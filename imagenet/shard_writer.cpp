#include "imagenet/shard_writer.hpp"

#include <archive.h>
#include <archive_entry.h>

#include <exception>
#include <utility>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/text.hpp"

namespace slicereduce {

struct ShardWriter::State {
  explicit State(const std::filesystem::path& path_) : path(path_), file(path_), handle(archive_write_new()) {
    archive_write_set_format_ustar(handle.get());
    archive_write_set_bytes_per_block(handle.get(), kWritten);
    archive_write_set_bytes_in_last_block(handle.get(), 1);  // no padding beyond the end mark
    check(archive_write_open(handle.get(), this, nullptr, write, nullptr));
  }

  /// libarchive is C: what AtomicFile throws waits until it has returned.
  static la_ssize_t write(archive* /*handle*/, void* self, const void* bytes, std::size_t count) {
    auto& state = *static_cast<State*>(self);
    try {
      state.file.write({static_cast<const std::byte*>(bytes), count});
      return static_cast<la_ssize_t>(count);
    } catch (...) {
      state.failure = std::current_exception();
      return ARCHIVE_FATAL;
    }
  }

  void check(la_ssize_t code) {
    if (code >= 0) {
      return;
    }
    if (failure) {
      std::rethrow_exception(std::exchange(failure, nullptr));
    }
    const char* why = archive_error_string(handle.get());
    throw Error(ErrorKind::io,
                concat("cannot write the shard ", path.string(), ": ", why == nullptr ? "" : why));
  }

  static constexpr int kWritten = 1 << 20;
  struct Free {
    void operator()(archive* archive_) const { archive_write_free(archive_); }
    void operator()(archive_entry* entry_) const { archive_entry_free(entry_); }
  };

  std::filesystem::path path;
  AtomicFile file;
  std::exception_ptr failure;
  std::unique_ptr<archive, Free> handle;  // before the others: it may write when it is freed
  std::unique_ptr<archive_entry, Free> entry{archive_entry_new()};
};

ShardWriter::ShardWriter(const std::filesystem::path& path) : state_(std::make_unique<State>(path)) {}
ShardWriter::~ShardWriter() = default;

void ShardWriter::add(const std::string& path, std::span<const std::byte> bytes) {
  archive_entry* const entry = archive_entry_clear(state_->entry.get());
  archive_entry_set_pathname(entry, path.c_str());
  archive_entry_set_filetype(entry, AE_IFREG);
  archive_entry_set_perm(entry, 0644);
  archive_entry_set_mtime(entry, 0, 0);
  archive_entry_set_size(entry, static_cast<la_int64_t>(bytes.size()));
  state_->check(archive_write_header(state_->handle.get(), entry));
  state_->check(archive_write_data(state_->handle.get(), bytes.data(), bytes.size()));
}

void ShardWriter::commit() {
  state_->check(archive_write_close(state_->handle.get()));
  state_->file.commit();
}

}  // namespace slicereduce
