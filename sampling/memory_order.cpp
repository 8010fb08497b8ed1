#include "sampling/memory_order.hpp"

#include <ATen/ops/empty.h>

#include <vector>

#include "core/error.hpp"
#include "core/text.hpp"

namespace slicereduce {

at::MemoryFormat memory_format_of(at::IntArrayRef sizes) {
  return sizes.size() == 4 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
}

at::Tensor in_memory_order(const at::Tensor& tensor) {
  if (!tensor.is_contiguous(memory_format_of(tensor.sizes()))) {
    throw Error(ErrorKind::invariant,
                concat("a weight or gradient of sizes ", tensor.sizes(), " has strides ", tensor.strides(),
                       ": its memory must be in the order rows, taps, columns"));
  }
  return (tensor.dim() == 4 ? tensor.permute({0, 2, 3, 1}) : tensor).view({-1});
}

at::Tensor with_channels_side_by_side(const at::Tensor& x) {
  return x.contiguous(memory_format_of(x.sizes()));
}

at::Tensor empty_with_channels(const at::Tensor& like, std::int64_t channels) {
  std::vector<std::int64_t> sizes = like.sizes().vec();
  sizes[1] = channels;
  return at::empty(sizes, like.options(), memory_format_of(sizes));
}

at::Tensor with_sizes(const at::Tensor& numbers, at::IntArrayRef sizes) {
  if (sizes.size() != 4) {
    return numbers.view(sizes);
  }
  return numbers.view({sizes[0], sizes[2], sizes[3], sizes[1]}).permute({0, 3, 1, 2});
}

}  // namespace slicereduce
