#include "tests/imagenet/shard_files.hpp"

#include <archive.h>
#include <archive_entry.h>

#include <memory>
#include <stdexcept>

#include "core/text.hpp"

namespace slicereduce::dataset_files {

namespace {

void check(archive* handle, int code) {
  if (code != ARCHIVE_OK) {
    throw std::runtime_error(archive_error_string(handle));
  }
}

int set_form(archive* handle, TarForm form) {
  switch (form) {
    case TarForm::ustar:
      return archive_write_set_format_ustar(handle);
    case TarForm::gnu:
      return archive_write_set_format_gnutar(handle);
    case TarForm::pax:
      break;
  }
  return archive_write_set_format_pax(handle);
}

}  // namespace

Bytes tar(const std::vector<TarMember>& members, TarForm form) {
  Bytes file;
  const std::unique_ptr<archive, int (*)(archive*)> handle(archive_write_new(), archive_write_free);
  check(handle.get(), set_form(handle.get(), form));
  check(handle.get(), archive_write_open(
                          handle.get(), &file, nullptr,
                          [](archive*, void* into, const void* bytes, std::size_t count) {
                            const auto* first = static_cast<const std::uint8_t*>(bytes);
                            static_cast<Bytes*>(into)->insert(static_cast<Bytes*>(into)->end(), first,
                                                              first + count);
                            return static_cast<la_ssize_t>(count);
                          },
                          nullptr));
  for (const TarMember& member : members) {
    const std::unique_ptr<archive_entry, void (*)(archive_entry*)> entry(archive_entry_new(),
                                                                         archive_entry_free);
    archive_entry_set_pathname(entry.get(), member.path.c_str());
    archive_entry_set_filetype(entry.get(), member.path.ends_with('/') ? AE_IFDIR : AE_IFREG);
    archive_entry_set_perm(entry.get(), 0644);
    archive_entry_set_size(entry.get(), static_cast<la_int64_t>(member.bytes.size()));
    check(handle.get(), archive_write_header(handle.get(), entry.get()));
    archive_write_data(handle.get(), member.bytes.data(), member.bytes.size());
  }
  check(handle.get(), archive_write_close(handle.get()));
  return file;
}

Bytes bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

std::vector<TarMember> noise_samples(std::int64_t first, std::int64_t count, std::int64_t classes) {
  std::vector<TarMember> members;
  for (std::int64_t i = first; i < first + count; ++i) {
    const std::string key = concat("set/", 1000 + i);
    members.push_back({key + ".cls", bytes_of(std::to_string(i % classes))});
    members.push_back({key + ".png", png(noise_image(70 + i % 3, 80, 3, static_cast<std::uint64_t>(i)))});
  }
  return members;
}

}  // namespace slicereduce::dataset_files
