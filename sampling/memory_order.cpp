#include "sampling/memory_order.hpp"

#include "core/error.hpp"

namespace slicereduce {

at::MemoryFormat memory_format_of(at::IntArrayRef sizes) {
  return sizes.size() == 4 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
}

at::Tensor in_memory_order(const at::Tensor& tensor) {
  require(tensor.is_contiguous(memory_format_of(tensor.sizes())),
          "the numbers of a weight or gradient lie in another order than rows, taps, columns");
  return (tensor.dim() == 4 ? tensor.permute({0, 2, 3, 1}) : tensor).view({-1});
}

at::Tensor with_sizes(const at::Tensor& numbers, at::IntArrayRef sizes) {
  if (sizes.size() != 4) {
    return numbers.view(sizes);
  }
  return numbers.view({sizes[0], sizes[2], sizes[3], sizes[1]}).permute({0, 3, 1, 2});
}

}  // namespace slicereduce
