#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "core/error.hpp"

namespace slicereduce {

/// An error that every rank has learnt of: one of them may print it, and all end in order.
class SharedError : public Error {
 public:
  using Error::Error;
};

/// Collective. Runs `work`, which must not be collective, on every rank. If it threw on any, throws
/// SharedError on all of them, with the lowest such rank's message (and its number, where not all failed).
void together(Communicator& communicator, const std::function<void()>& work);

/// What ranks have to agree on, by name: options, versions, data, weights.
using Facts = std::map<std::string, std::string>;

/// Collective. A line for each key whose value differs, with the values and the ranks that hold them; empty
/// where all agree, which costs a digest.
[[nodiscard]] std::string differences(Communicator& communicator, const Facts& facts);

/// Collective. The ranks whose `text` is another than more than half of them hold; none where no text has so
/// many.
[[nodiscard]] std::vector<int> dissenters(Communicator& communicator, const std::string& text);

/// Collective. Throws SharedError(disagreement) naming each key whose value differs, the values, and
/// the ranks that hold them. Costs a digest where all agree.
void require_agreement(Communicator& communicator, const Facts& facts);

}  // namespace slicereduce
