// Reads files that were spoilt at random: each is read, or refused by one Error. Anything else is a defect: a
// crash, another exception, or (under --most-mb, not with sanitizers) memory beyond measure.

#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/ones.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstring>
#include <exception>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <random>

#include "core/atomic_file.hpp"
#include "core/digest.hpp"
#include "core/error.hpp"
#include "core/input_file.hpp"
#include "core/pickle.hpp"
#include "core/state_dict.hpp"
#include "imagenet/cifar10_source.hpp"
#include "imagenet/decoder.hpp"
#include "imagenet/idx_source.hpp"
#include "imagenet/shard_index.hpp"
#include "imagenet/webdataset_source.hpp"
#include "launcher/checkpoint.hpp"
#include "launcher/injected_faults.hpp"
#include "launcher/resolved_options.hpp"
#include "launcher/training_state.hpp"
#include "models/weights.hpp"
#include "tests/imagenet/dataset_files.hpp"
#include "tests/imagenet/shard_files.hpp"
#include "tests/support/temporary_folder.hpp"

namespace slicereduce {
namespace {

using Bytes = std::vector<std::byte>;
using Random = std::mt19937_64;

Bytes bytes_of(std::string_view text) {
  const auto* begin = reinterpret_cast<const std::byte*>(text.data());
  return {begin, begin + text.size()};
}
std::string text_of(const Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
Bytes bytes_of(const dataset_files::Bytes& bytes) {
  const auto* begin = reinterpret_cast<const std::byte*>(bytes.data());
  return {begin, begin + bytes.size()};
}

/// Numbers that readers get wrong: sizes, signs, and what overflows.
std::uint64_t tempting_number(Random& random) {
  constexpr std::array<std::uint64_t, 12> kNumbers{
      0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1ULL << 40, INT64_MAX, UINT64_MAX};
  return kNumbers.at(random() % kNumbers.size());
}

void spoil_once(Bytes& bytes, Random& random) {
  if (bytes.empty()) {
    bytes.push_back(static_cast<std::byte>(random()));
    return;
  }
  const std::size_t at = random() % bytes.size();
  const std::size_t length = std::min<std::size_t>(1 + random() % 64, bytes.size() - at);
  const auto first = bytes.begin() + static_cast<std::ptrdiff_t>(at);
  const auto last = first + static_cast<std::ptrdiff_t>(length);
  switch (random() % 6) {
    case 0:
      bytes[at] ^= std::byte{1} << (random() % 8);
      return;
    case 1:
      bytes[at] = static_cast<std::byte>(random());
      return;
    case 2: {
      const std::uint64_t number = tempting_number(random);
      const std::size_t width = std::size_t{1} << (random() % 4);
      std::memcpy(bytes.data() + at, &number, std::min(width, bytes.size() - at));
      return;
    }
    case 3:
      bytes.erase(first, last);
      return;
    case 4: {
      const Bytes copy(first, last);
      bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(random() % (bytes.size() + 1)), copy.begin(),
                   copy.end());
      return;
    }
    default:
      bytes.resize(at);
  }
}

Bytes spoilt(Bytes bytes, Random& random) {
  const std::size_t times = 1 + random() % 4;
  for (std::size_t i = 0; i < times; ++i) {
    spoil_once(bytes, random);
  }
  return bytes;
}

struct Target {
  std::string name;
  std::vector<Bytes> seeds;
  std::function<void(const Bytes&)> read;
  bool refuses_all = false;  ///< it has a checksum
};

/// Faster than write_atomically(), which waits for the disk.
void put(const std::filesystem::path& path, const Bytes& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

/// A checkpoint with the trailer that vouches for these bytes, as core/checkpoint_file.cpp has it: who crafts
/// a file can compute it too.
Bytes vouched_for(const Bytes& payload) {
  Bytes file = payload;
  const auto append = [&file](const auto& value) {
    const auto raw = std::as_bytes(std::span(&value, 1));
    file.insert(file.end(), raw.begin(), raw.end());
  };
  append(std::array<char, 8>{'S', 'L', 'R', 'C', 'K', 'P', 'T', '1'});
  append(static_cast<std::uint64_t>(payload.size()));
  append(digest128_of(payload));
  append(digest_of(std::span(file).subspan(payload.size())));
  return file;
}

constexpr std::size_t kTrailerBytes = 40;

/// Of a small network, so that most of the file is what describes it.
Bytes checkpoint(const std::filesystem::path& folder) {
  Manifest manifest{
      .version = "1", .arch = "mlp-2x8", .coupling = "block", .in_channels = 1, .num_classes = 3};
  manifest.options = "[train]\nmode = \"dense\"\nlr = 0.1\n";
  const Layout layout = manifest.layout();
  const Network network(layout, /*seed=*/1);
  const StateDict weights = parameter_tensors(network, network.values());
  StateDict channels;
  for (const Site& site : layout.sites) {
    channels.emplace_back("channels." + site.name, at::arange(0, site.channels, 2, at::kLong));
  }
  const auto path = folder / "seed.ckpt";
  save_checkpoint(path, {.manifest = manifest,
                         .weights = weights,
                         .momentum = weights,
                         .statistics = statistics_state(network, network.statistics()),
                         .channels = channels,
                         .factors = {{"slot0", at::ones({2, 3})}},
                         .owed = {{"rank0." + layout.parameters[0].name, network.parameters()[0].value}}});
  return read_whole(path);
}

Bytes state_dict(const std::filesystem::path& folder) {
  const auto path = folder / "seed.pt";
  write_state_dict(path, {{"a", at::arange(6, at::kFloat).view({2, 3})}, {"b", at::arange(3, at::kLong)}},
                   {{"sets", std::vector<std::int64_t>{1, 2}}, {"name", std::string("x")}});
  return read_whole(path);
}

/// The record data.pkl of an archive, with what lies behind it up to the next one.
Bytes pickle_in(const Bytes& archive) {
  const std::string text = text_of(archive);
  const std::size_t begin = text.find("\x80\x02", text.find("data.pkl"));
  return bytes_of(std::string_view(text).substr(begin, text.find("PK", begin) - begin));
}

/// One decoder for all inputs, as a loader's thread has it: what one leaves must not harm the next.
void decode_whole_and_in_part(Decoder& decoder, const Bytes& bytes) {
  const StoredImage stored{.is_file = true, .file = bytes};
  const Extent extent = decoder.open(stored);
  const CropBox box{extent.height / 3, extent.width / 3, (extent.height + 2) / 3, (extent.width + 2) / 3};
  (void)decoder.part(box, {1 + extent.height / 8, 1 + extent.width / 8});
  decoder.open(stored);
  (void)decoder.whole();
}

std::vector<Target> targets(const std::filesystem::path& folder) {
  using dataset_files::gzip;
  const auto file = folder / "spoilt";
  const Bytes archive = state_dict(folder);
  const Bytes saved = checkpoint(folder);
  const auto idx = folder / "idx";
  const auto cifar = folder / "cifar";
  std::filesystem::create_directory(idx);
  std::filesystem::create_directory(cifar);
  const dataset_files::Bytes pictures = dataset_files::idx_images(3, 4, 4, dataset_files::Bytes(48, 7));
  put(idx / "t10k-labels-idx1-ubyte", bytes_of(dataset_files::idx_labels({0, 1, 2})));
  const Image picture = dataset_files::noise_image(9, 13, 3, 1);
  const auto samples = dataset_files::noise_samples(0, 2, 2);
  return {
      {"state dict",
       {archive},
       [=](const Bytes& bytes) {
         put(file, bytes);
         (void)read_state_file(file);
       }},
      {"pickle", {pickle_in(archive), pickle_in(saved)}, [](const Bytes& bytes) { Pickle(bytes, "f"); }},
      {"checkpoint",
       {{saved.begin(), saved.end() - kTrailerBytes}},
       [=](const Bytes& bytes) {
         put(file, vouched_for(bytes));
         (void)load_network(file);
       }},
      {"resume",
       {{saved.begin(), saved.end() - kTrailerBytes}},
       [=](const Bytes& bytes) {
         put(file, vouched_for(bytes));
         const Checkpoint loaded = load_checkpoint(file);
         TrainOptions options;
         options.network.arch = "mlp-2x8";
         options.step.reduce = "powersgd";
         options.seed = 1;
         TrainingState state(options, /*in_channels=*/1, /*num_classes=*/3);
         state.restore(loaded, "f", /*rank=*/0, /*world_size=*/2);
         (void)tensors_by_slot(loaded.factors, state.network.parameters().size());
       }},
      {"checkpoint's end",
       {saved},
       [=](const Bytes& bytes) {
         put(file, bytes);
         (void)load_checkpoint(file);
       },
       /*refuses_all=*/true},
      {"manifest",
       {bytes_of(load_checkpoint(folder / "seed.ckpt").manifest.to_json().dump())},
       [](const Bytes& bytes) { (void)Manifest::from_json(text_of(bytes), "f").layout(); }},
      {"options",
       {bytes_of("[train]\nmode = \"dense\"\nlr = 0.1\n")},
       [](const Bytes& bytes) { (void)options_of_config(text_of(bytes), "train"); }},
      {"faults",
       {bytes_of("kill@rank1:step7,slow:200ms@rank0")},
       [](const Bytes& bytes) { (void)parse_faults(text_of(bytes)); }},
      {"picture",
       {bytes_of(dataset_files::jpeg(picture)), bytes_of(dataset_files::jpeg(picture, true)),
        bytes_of(dataset_files::png(picture)),
        bytes_of(dataset_files::jpeg(dataset_files::noise_image(9, 9, 4, 2)))},
       [decoder = std::make_shared<Decoder>()](const Bytes& bytes) {
         decode_whole_and_in_part(*decoder, bytes);
       }},
      {"shard",
       {bytes_of(dataset_files::tar(samples)),
        bytes_of(dataset_files::tar(samples, dataset_files::TarForm::pax))},
       [=](const Bytes& bytes) {
         const auto shard = folder / "train.tar";
         put(shard, bytes);
         std::filesystem::remove(folder / "train.idx");
         (void)WebDatasetSource({shard}).fingerprint();
       }},
      {"index",
       {bytes_of("v1.2 2\ncls 512 1 a.cls jpg 1536 600 a.jpg\njpg 3072 0 b.jpg cls 3584 0 b.cls\n")},
       [](const Bytes& bytes) { (void)parse_index(text_of(bytes), /*shard_bytes=*/10'000); }},
      {"IDX",
       {bytes_of(pictures), bytes_of(gzip(pictures))},
       [=](const Bytes& bytes) {
         std::filesystem::remove(idx / "t10k-images-idx3-ubyte.gz");
         put(idx / "t10k-images-idx3-ubyte.gz", bytes);
         (void)load_image(IdxSource(idx, Split::validation), 0);
       }},
      {"CIFAR-10",
       {Bytes(3 * 3073, std::byte{5})},
       [=](const Bytes& bytes) {
         put(cifar / "test_batch.bin", bytes);
         (void)load_image(Cifar10Source(cifar, Split::validation), 0);
       }},
  };
}

struct Options {
  std::uint64_t inputs = 2000;
  std::uint64_t seed = 1;
  double seconds = 0;
  std::string only;
  std::int64_t most_mb = 0;
};

/// What is wrong with how `input` was taken; nothing where it was read, or refused as bad input.
std::string defect_of(const Target& target, const Bytes& input, std::uint64_t& refused) {
  try {
    target.read(input);
  } catch (const Error& problem) {
    ++refused;
    const bool refuses = problem.kind() == ErrorKind::input || problem.kind() == ErrorKind::usage;
    return refuses ? "" : problem.what();
  } catch (const std::exception& problem) {
    return std::string("no Error, but: ") + problem.what();
  }
  return target.refuses_all ? "it was read" : "";
}

/// Whether all went well.
bool fuzz(const Target& target, const Options& options) {
  for (const Bytes& whole : target.seeds) {
    target.read(whole);  // else all inputs would be refused for a reason of their own
  }
  using Clock = std::chrono::steady_clock;
  const auto began = Clock::now();
  const auto is_over = [&](std::uint64_t count) {
    return options.seconds > 0 ? std::chrono::duration<double>(Clock::now() - began).count() > options.seconds
                               : count >= options.inputs;
  };
  std::uint64_t refused = 0;
  std::uint64_t count = 0;
  std::ofstream last("fuzz.last");
  for (; !is_over(count); ++count) {
    // A crash leaves the number behind, and with it the input.
    last.seekp(0) << target.name << ": --seed " << options.seed << ", input " << count << '\n' << std::flush;
    Random random(options.seed * 1'000'003 + count);
    const Bytes& whole = target.seeds[random() % target.seeds.size()];
    Bytes input = spoilt(whole, random);
    while (input == whole) {
      input = spoilt(whole, random);
    }
    if (const std::string defect = defect_of(target, input, refused); !defect.empty()) {
      std::cerr << target.name << ", input " << count << " (see fuzz.input): " << defect << '\n';
      put("fuzz.input", input);
      return false;
    }
  }
  std::cout << target.name << ": " << count << " inputs, " << refused << " refused\n";
  return true;
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app("Spoils files at random and reads them");
  app.add_option("--inputs", options.inputs, "For each reader")->capture_default_str();
  app.add_option("--seconds", options.seconds, "For each reader, instead");
  app.add_option("--seed", options.seed)->capture_default_str();
  app.add_option("--only", options.only, "Readers whose name has this in it");
  app.add_option("--most-mb", options.most_mb, "Memory that may be taken; 0: any");
  CLI11_PARSE(app, argc, argv);
  if (options.most_mb > 0) {
    const rlimit limit{.rlim_cur = static_cast<rlim_t>(options.most_mb) << 20,
                       .rlim_max = static_cast<rlim_t>(options.most_mb) << 20};
    ::setrlimit(RLIMIT_AS, &limit);
  }
  const testing::TemporaryFolder folder;
  bool well = true;
  for (const Target& target : targets(folder.path())) {
    if (target.name.find(options.only) != std::string::npos) {
      well = fuzz(target, options) && well;
    }
  }
  return well ? 0 : 1;
}

}  // namespace
}  // namespace slicereduce

int main(int argc, char** argv) { return slicereduce::run(argc, argv); }
