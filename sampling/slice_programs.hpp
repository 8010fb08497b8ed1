#pragma once

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "core/host_device.hpp"
#include "sampling/rectify.hpp"
#include "sampling/sgd_step.hpp"

/// What one thread of a kernel does: plain functions of a table's entry and the thread's number, so that the
/// CPU can run all threads one after the other. Entries hold pointers to a device's memory (or the host's),
/// for it is the entries that travel with a launch, by value: no copy, and nothing to wait for.
namespace slicereduce::kernels {

enum class Number : std::int32_t { fp32, bf16, fp16 };

/// Indices that a plan keeps of one side of a matrix, ascending; no array: all of them.
struct Kept {
  const std::int64_t* indices = nullptr;
  std::int32_t count = 0;

  SLICEREDUCE_HOST_DEVICE std::int64_t at(std::int32_t place) const {
    return indices == nullptr ? place : indices[place];
  }
  /// The first place whose index is not below `index`; `count` where there is none.
  SLICEREDUCE_HOST_DEVICE std::int32_t first_from(std::int64_t index) const {
    if (indices == nullptr) {
      return index < count ? static_cast<std::int32_t>(index) : count;
    }
    std::int32_t begin = 0;
    std::int32_t end = count;
    while (begin < end) {
      const std::int32_t middle = (begin + end) / 2;
      if (indices[middle] < index) {
        begin = middle + 1;
      } else {
        end = middle;
      }
    }
    return begin;
  }
  SLICEREDUCE_HOST_DEVICE bool has(std::int32_t place, std::int64_t index) const {
    return place < count && at(place) == index;
  }
};

/// Neighbouring numbers that are read or written at once.
template <typename T, int kWidth>
struct alignas(sizeof(T) * kWidth) Pack {
  T numbers[kWidth];
};

template <int kWidth, typename T>
SLICEREDUCE_HOST_DEVICE Pack<T, kWidth> load(const T* from) {
  return *reinterpret_cast<const Pack<T, kWidth>*>(from);
}

template <int kWidth, typename T>
SLICEREDUCE_HOST_DEVICE void store(T* to, const Pack<T, kWidth>& pack) {
  *reinterpret_cast<Pack<T, kWidth>*>(to) = pack;
}

/// A parameter's slices on their way into a leaf. See ParameterShape for rows, taps and columns.
struct GatherEntry {
  const float* dense = nullptr;  ///< [rows, taps, columns]
  void* leaf = nullptr;          ///< [kept rows, taps, kept columns]
  Kept rows;
  Kept columns;
  std::int32_t taps = 1;
  std::int32_t all_columns = 0;
  Number type = Number::fp32;  ///< of the leaf
  bool packed = false;         ///< whether 16 bytes of it may be written at once

  [[nodiscard]] SLICEREDUCE_HOST_DEVICE std::int64_t numel() const {
    return static_cast<std::int64_t>(rows.count) * taps * columns.count;
  }
  [[nodiscard]] SLICEREDUCE_HOST_DEVICE std::int32_t width() const {
    return packed ? (type == Number::fp32 ? 4 : 8) : 1;
  }
  [[nodiscard]] SLICEREDUCE_HOST_DEVICE std::int64_t threads() const { return numel() / width(); }
};

template <typename T, int kWidth>
SLICEREDUCE_HOST_DEVICE void gather_pack(const GatherEntry& entry, std::uint32_t thread) {
  const std::uint32_t first = thread * kWidth;
  const std::uint32_t line = first / entry.columns.count;  // of a row and a tap
  const auto column = static_cast<std::int32_t>(first % entry.columns.count);
  const std::int64_t row = entry.rows.at(static_cast<std::int32_t>(line / entry.taps));
  const float* from = entry.dense + (row * entry.taps + line % entry.taps) * entry.all_columns;
  Pack<T, kWidth> pack;
  for (int i = 0; i < kWidth; ++i) {
    pack.numbers[i] = static_cast<T>(from[entry.columns.at(column + i)]);
  }
  store<kWidth>(static_cast<T*>(entry.leaf) + first, pack);
}

SLICEREDUCE_HOST_DEVICE inline void run(const GatherEntry& entry, std::uint32_t thread) {
  if (entry.type == Number::fp32) {
    entry.packed ? gather_pack<float, 4>(entry, thread) : gather_pack<float, 1>(entry, thread);
  } else {
    entry.packed ? gather_pack<c10::BFloat16, 8>(entry, thread)
                 : gather_pack<c10::BFloat16, 1>(entry, thread);
  }
}

/// A parameter's update from the gradient of its slices. A thread has a few neighbouring columns of a group
/// of rows, so that it looks up once what is kept of its columns, and sums their squares alone: no two
/// threads meet, and the same weights give the same bits.
struct UpdateEntry {
  static constexpr std::int32_t kRowsPerGroup = 16;

  float* weights = nullptr;        ///< [rows, taps, columns]
  float* momentum = nullptr;       ///< likewise
  const void* gradient = nullptr;  ///< [kept rows, taps, kept columns]; none: the squares alone are renewed
  float* squares = nullptr;        ///< [groups, taps, columns]; none: not asked for
  Kept rows;
  Kept columns;
  std::int32_t all_rows = 0;
  std::int32_t taps = 1;
  std::int32_t all_columns = 0;
  Number type = Number::fp32;  ///< of the gradient
  SgdStep step;
  const float* live_lr = nullptr;      ///< the learning rate in step's place, if any
  const std::int32_t* goes = nullptr;  ///< where it is 0, the squares alone are renewed
  bool nesterov = false;
  bool packed = false;  ///< whether 16 bytes of weights may be read at once

  static SLICEREDUCE_HOST_DEVICE std::int32_t groups(std::int32_t rows) {
    return (rows + kRowsPerGroup - 1) / kRowsPerGroup;
  }
  [[nodiscard]] SLICEREDUCE_HOST_DEVICE std::int32_t row_numel() const { return taps * all_columns; }
  [[nodiscard]] SLICEREDUCE_HOST_DEVICE std::int32_t width() const { return packed ? 4 : 1; }
  [[nodiscard]] SLICEREDUCE_HOST_DEVICE std::int64_t threads() const {
    return static_cast<std::int64_t>(groups(all_rows)) * (row_numel() / width());
  }
};

template <typename T, int kWidth>
SLICEREDUCE_HOST_DEVICE void update_columns(const UpdateEntry& entry, std::uint32_t thread) {
  const std::uint32_t runs = entry.row_numel() / kWidth;
  const auto group = static_cast<std::int32_t>(thread / runs);
  const auto place = static_cast<std::int32_t>(thread % runs) * kWidth;
  const std::int32_t tap = place / entry.all_columns;
  const std::int32_t column = place % entry.all_columns;

  std::int32_t kept_place[kWidth];  // in a row of the gradient; -1 where it has nothing
  std::int32_t next_column = entry.columns.first_from(column);
  for (int i = 0; i < kWidth; ++i) {
    const bool kept = entry.columns.has(next_column, column + i);
    kept_place[i] = kept ? tap * entry.columns.count + next_column++ : -1;
  }

  const bool changes = entry.gradient != nullptr && (entry.goes == nullptr || *entry.goes != 0);
  SgdStep step = entry.step;
  if (entry.live_lr != nullptr) {
    step.lr = *entry.live_lr;
  }
  const std::int64_t kept_row_numel = static_cast<std::int64_t>(entry.taps) * entry.columns.count;
  const std::int32_t begin = group * UpdateEntry::kRowsPerGroup;
  const std::int32_t past = begin + UpdateEntry::kRowsPerGroup;
  const std::int32_t end = past < entry.all_rows ? past : entry.all_rows;
  std::int32_t next_row = entry.rows.first_from(begin);
  Pack<float, kWidth> squares{};
  for (std::int32_t row = begin; row < end; ++row) {
    const std::int64_t at = static_cast<std::int64_t>(row) * entry.row_numel() + place;
    auto weights = load<kWidth>(static_cast<const float*>(entry.weights) + at);
    if (changes) {
      auto momentum = load<kWidth>(static_cast<const float*>(entry.momentum) + at);
      const bool kept = entry.rows.has(next_row, row);
      const T* gradient = static_cast<const T*>(entry.gradient) + (kept ? next_row++ : 0) * kept_row_numel;
      for (int i = 0; i < kWidth; ++i) {
        const float g = kept && kept_place[i] >= 0 ? static_cast<float>(gradient[kept_place[i]]) : 0.0F;
        entry.nesterov ? update_weight<true>(g, step, weights.numbers[i], momentum.numbers[i])
                       : update_weight<false>(g, step, weights.numbers[i], momentum.numbers[i]);
      }
      store<kWidth>(entry.weights + at, weights);
      store<kWidth>(entry.momentum + at, momentum);
    }
    for (int i = 0; i < kWidth; ++i) {
      squares.numbers[i] += weights.numbers[i] * weights.numbers[i];
    }
  }
  if (entry.squares != nullptr) {
    store<kWidth>(entry.squares + static_cast<std::int64_t>(group) * entry.row_numel() + place, squares);
  }
}

template <typename T>
SLICEREDUCE_HOST_DEVICE void update_columns_of(const UpdateEntry& entry, std::uint32_t thread) {
  entry.packed ? update_columns<T, 4>(entry, thread) : update_columns<T, 1>(entry, thread);
}

SLICEREDUCE_HOST_DEVICE inline void run(const UpdateEntry& entry, std::uint32_t thread) {
  switch (entry.type) {
    case Number::fp32:
      return update_columns_of<float>(entry, thread);
    case Number::bf16:
      return update_columns_of<c10::BFloat16>(entry, thread);
    case Number::fp16:
      return update_columns_of<c10::Half>(entry, thread);
  }
}

/// The norms of a site's channels, from the squares of all parameters that read them. A thread adds those of
/// one channel, in an order that is always the same.
struct NormEntry {
  /// Squares of one parameter's weights, summed up in part.
  struct Source {
    const float* squares = nullptr;  ///< [lines, channels]
    std::int32_t lines = 0;
  };
  static constexpr std::int32_t kMostSources = 4;  ///< a block's first convolution and its projection are two

  Source sources[kMostSources];
  std::int32_t source_count = 0;
  std::int32_t channels = 0;
  float* norms = nullptr;  ///< [channels]

  [[nodiscard]] SLICEREDUCE_HOST_DEVICE std::int64_t threads() const { return channels; }
};

SLICEREDUCE_HOST_DEVICE inline void run(const NormEntry& entry, std::uint32_t channel) {
  double total = 0;
  for (std::int32_t s = 0; s < entry.source_count; ++s) {
    const NormEntry::Source& source = entry.sources[s];
    for (std::int32_t line = 0; line < source.lines; ++line) {
      total +=
          static_cast<double>(source.squares[static_cast<std::int64_t>(line) * entry.channels + channel]);
    }
  }
  entry.norms[channel] = static_cast<float>(sqrt(total));
}

/// Whether each channel of a site is among those of the `kept` largest norms, ties to the lower index: the
/// sampler topk. A thread counts the channels before its own.
struct RankEntry {
  const float* norms = nullptr;    ///< [channels]
  std::int32_t* chosen = nullptr;  ///< [channels]: 1 or 0
  std::int32_t channels = 0;
  std::int32_t kept = 0;

  [[nodiscard]] SLICEREDUCE_HOST_DEVICE std::int64_t threads() const { return channels; }
};

SLICEREDUCE_HOST_DEVICE inline void run(const RankEntry& entry, std::uint32_t channel) {
  const float norm = entry.norms[channel];
  std::int32_t before = 0;
  for (std::uint32_t other = 0; other < static_cast<std::uint32_t>(entry.channels); ++other) {
    const float others = entry.norms[other];
    before += others > norm || (others == norm && other < channel) ? 1 : 0;
  }
  entry.chosen[channel] = before < entry.kept ? 1 : 0;
}

/// The indices of what a RankEntry has chosen, ascending. Norms that are no numbers come before nothing and
/// after nothing, so that more than `kept` may be chosen, but never fewer: the first of them are listed.
struct ListEntry {
  const std::int32_t* chosen = nullptr;  ///< [channels]: 1 or 0
  std::int64_t* indices = nullptr;       ///< [kept]
  std::int32_t channels = 0;
  std::int32_t kept = 0;

  [[nodiscard]] SLICEREDUCE_HOST_DEVICE std::int64_t threads() const { return channels; }
};

SLICEREDUCE_HOST_DEVICE inline void run(const ListEntry& entry, std::uint32_t channel) {
  if (entry.chosen[channel] == 0) {
    return;
  }
  std::int32_t place = 0;
  for (std::uint32_t other = 0; other < channel; ++other) {
    place += entry.chosen[other];
  }
  if (place < entry.kept) {
    entry.indices[place] = channel;
  }
}

/// The channels that a set keeps, of activations whose channels lie side by side, times their scale. A thread
/// has neighbouring channels of the result at a few pixels.
struct TakeEntry {
  static constexpr std::int32_t kPixelsPerThread = 4;

  const void* from = nullptr;  ///< [pixels, all channels]
  void* to = nullptr;          ///< [pixels, kept channels]
  Kept channels;
  const float* scale = nullptr;  ///< [kept channels], or none
  std::int32_t all_channels = 0;
  std::int64_t pixels = 0;
  Number type = Number::fp32;
  bool packed = false;  ///< whether 16 bytes of the result may be written at once

  [[nodiscard]] SLICEREDUCE_HOST_DEVICE std::int32_t width() const {
    return packed ? (type == Number::fp32 ? 4 : 8) : 1;
  }
  [[nodiscard]] SLICEREDUCE_HOST_DEVICE std::int64_t threads() const {
    return (pixels + kPixelsPerThread - 1) / kPixelsPerThread * (channels.count / width());
  }
};

template <typename T, int kWidth>
SLICEREDUCE_HOST_DEVICE void take_pack(const TakeEntry& entry, std::uint32_t thread) {
  const std::uint32_t runs = entry.channels.count / kWidth;
  const auto place = static_cast<std::int32_t>(thread % runs) * kWidth;
  std::int64_t channels[kWidth];
  for (int i = 0; i < kWidth; ++i) {
    channels[i] = entry.channels.at(place + i);
  }
  const std::int64_t begin = static_cast<std::int64_t>(thread / runs) * TakeEntry::kPixelsPerThread;
  const std::int64_t past = begin + TakeEntry::kPixelsPerThread;
  const std::int64_t end = past < entry.pixels ? past : entry.pixels;
  for (std::int64_t pixel = begin; pixel < end; ++pixel) {
    const T* from = static_cast<const T*>(entry.from) + pixel * entry.all_channels;
    Pack<T, kWidth> pack;
    for (int i = 0; i < kWidth; ++i) {
      const T number = from[channels[i]];
      pack.numbers[i] = entry.scale == nullptr
                            ? number
                            : static_cast<T>(static_cast<float>(number) * entry.scale[place + i]);
    }
    store<kWidth>(static_cast<T*>(entry.to) + pixel * entry.channels.count + place, pack);
  }
}

SLICEREDUCE_HOST_DEVICE inline void run(const TakeEntry& entry, std::uint32_t thread) {
  if (entry.type == Number::fp32) {
    entry.packed ? take_pack<float, 4>(entry, thread) : take_pack<float, 1>(entry, thread);
  } else {
    entry.packed ? take_pack<c10::BFloat16, 8>(entry, thread) : take_pack<c10::BFloat16, 1>(entry, thread);
  }
}

/// The gradient of TakeEntry: what was passed on, or zero, plus what was taken, times its scale, in its
/// place; and behind a ReLU, of that what its gate lets through. A thread has neighbouring channels of the
/// result at a few pixels.
struct GiveEntry {
  static constexpr std::int32_t kPixelsPerThread = 4;

  const void* taken = nullptr;   ///< [pixels, kept channels]
  const void* passed = nullptr;  ///< [pixels, all channels]; none: zero
  const void* gate = nullptr;    ///< [pixels, all channels], what ReLU gave; none: there was none
  void* to = nullptr;            ///< [pixels, all channels]
  Kept channels;
  const float* scale = nullptr;  ///< [kept channels], or none
  std::int32_t all_channels = 0;
  std::int64_t pixels = 0;
  Number type = Number::fp32;
  bool packed = false;  ///< whether 16 bytes of the result may be written at once

  [[nodiscard]] SLICEREDUCE_HOST_DEVICE std::int32_t width() const {
    return packed ? (type == Number::fp32 ? 4 : 8) : 1;
  }
  [[nodiscard]] SLICEREDUCE_HOST_DEVICE std::int64_t threads() const {
    return (pixels + kPixelsPerThread - 1) / kPixelsPerThread * (all_channels / width());
  }
};

template <typename T, int kWidth>
SLICEREDUCE_HOST_DEVICE void give_pack(const GiveEntry& entry, std::uint32_t thread) {
  const std::uint32_t runs = entry.all_channels / kWidth;
  const auto channel = static_cast<std::int32_t>(thread % runs) * kWidth;
  std::int32_t place[kWidth];  // of what was taken; -1 where nothing was
  float scale[kWidth];
  std::int32_t next = entry.channels.first_from(channel);
  for (int i = 0; i < kWidth; ++i) {
    const bool taken = entry.channels.has(next, channel + i);
    place[i] = taken ? next++ : -1;
    scale[i] = taken && entry.scale != nullptr ? entry.scale[place[i]] : 1.0F;
  }
  const std::int64_t begin = static_cast<std::int64_t>(thread / runs) * GiveEntry::kPixelsPerThread;
  const std::int64_t past = begin + GiveEntry::kPixelsPerThread;
  const std::int64_t end = past < entry.pixels ? past : entry.pixels;
  for (std::int64_t pixel = begin; pixel < end; ++pixel) {
    const std::int64_t at = pixel * entry.all_channels + channel;
    const T* taken = static_cast<const T*>(entry.taken) + pixel * entry.channels.count;
    Pack<T, kWidth> pack{};
    if (entry.passed != nullptr) {
      pack = load<kWidth>(static_cast<const T*>(entry.passed) + at);
    }
    for (int i = 0; i < kWidth; ++i) {
      if (place[i] >= 0) {
        const float given = static_cast<float>(taken[place[i]]) * scale[i];
        pack.numbers[i] = static_cast<T>(static_cast<float>(pack.numbers[i]) + given);
      }
    }
    if (entry.gate != nullptr) {
      const auto gate = load<kWidth>(static_cast<const T*>(entry.gate) + at);
      for (int i = 0; i < kWidth; ++i) {
        pack.numbers[i] = gated(pack.numbers[i], gate.numbers[i]);
      }
    }
    store<kWidth>(static_cast<T*>(entry.to) + at, pack);
  }
}

SLICEREDUCE_HOST_DEVICE inline void run(const GiveEntry& entry, std::uint32_t thread) {
  if (entry.type == Number::fp32) {
    entry.packed ? give_pack<float, 4>(entry, thread) : give_pack<float, 1>(entry, thread);
  } else {
    entry.packed ? give_pack<c10::BFloat16, 8>(entry, thread) : give_pack<c10::BFloat16, 1>(entry, thread);
  }
}

/// The end of a residual block and the beginning of the next: ReLU of a sum, and what TakeEntry would take of
/// it. A thread has neighbouring channels at a few pixels.
struct SumEntry {
  static constexpr std::int32_t kPixelsPerThread = 4;

  const void* branch = nullptr;  ///< [pixels, all channels]
  const void* skip = nullptr;    ///< likewise
  void* sum = nullptr;           ///< likewise
  void* taken = nullptr;         ///< [pixels, kept channels]; none: nothing is taken
  Kept channels;
  const float* scale = nullptr;  ///< [kept channels], or none
  std::int32_t all_channels = 0;
  std::int64_t pixels = 0;
  Number type = Number::fp32;
  bool packed = false;  ///< whether 16 bytes may be read and written at once, but of what is taken

  [[nodiscard]] SLICEREDUCE_HOST_DEVICE std::int32_t width() const {
    return packed ? (type == Number::fp32 ? 4 : 8) : 1;
  }
  [[nodiscard]] SLICEREDUCE_HOST_DEVICE std::int64_t threads() const {
    return (pixels + kPixelsPerThread - 1) / kPixelsPerThread * (all_channels / width());
  }
};

template <typename T, int kWidth>
SLICEREDUCE_HOST_DEVICE void sum_pack(const SumEntry& entry, std::uint32_t thread) {
  const std::uint32_t runs = entry.all_channels / kWidth;
  const auto channel = static_cast<std::int32_t>(thread % runs) * kWidth;
  const std::int32_t first = entry.taken == nullptr ? 0 : entry.channels.first_from(channel);
  const std::int64_t begin = static_cast<std::int64_t>(thread / runs) * SumEntry::kPixelsPerThread;
  const std::int64_t past = begin + SumEntry::kPixelsPerThread;
  const std::int64_t end = past < entry.pixels ? past : entry.pixels;
  for (std::int64_t pixel = begin; pixel < end; ++pixel) {
    const std::int64_t at = pixel * entry.all_channels + channel;
    auto pack = load<kWidth>(static_cast<const T*>(entry.branch) + at);
    const auto skip = load<kWidth>(static_cast<const T*>(entry.skip) + at);
    for (int i = 0; i < kWidth; ++i) {
      pack.numbers[i] = rectified(
          static_cast<T>(static_cast<float>(pack.numbers[i]) + static_cast<float>(skip.numbers[i])));
    }
    store<kWidth>(static_cast<T*>(entry.sum) + at, pack);
    if (entry.taken == nullptr) {
      continue;
    }
    T* taken = static_cast<T*>(entry.taken) + pixel * entry.channels.count;
    std::int32_t next = first;
    for (int i = 0; i < kWidth; ++i) {
      if (entry.channels.has(next, channel + i)) {
        taken[next] = entry.scale == nullptr
                          ? pack.numbers[i]
                          : static_cast<T>(static_cast<float>(pack.numbers[i]) * entry.scale[next]);
        ++next;
      }
    }
  }
}

SLICEREDUCE_HOST_DEVICE inline void run(const SumEntry& entry, std::uint32_t thread) {
  if (entry.type == Number::fp32) {
    entry.packed ? sum_pack<float, 4>(entry, thread) : sum_pack<float, 1>(entry, thread);
  } else {
    entry.packed ? sum_pack<c10::BFloat16, 8>(entry, thread) : sum_pack<c10::BFloat16, 1>(entry, thread);
  }
}

}  // namespace slicereduce::kernels
