#include "launcher/consensus.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <sstream>
#include <vector>

#include "core/digest.hpp"
#include "core/text.hpp"
#include "launcher/message_of.hpp"

namespace slicereduce {

namespace {

std::string joined(const std::vector<int>& ranks) {
  std::string text;
  for (const int rank : ranks) {
    text += (text.empty() ? "" : ", ") + std::to_string(rank);
  }
  return text;
}

/// "key\nvalue\n" for each fact: neither holds a line break.
std::string written(const Facts& facts) {
  std::string text;
  for (const auto& [key, value] : facts) {
    std::string line = value;
    std::replace(line.begin(), line.end(), '\n', ' ');
    text += concat(key, "\n", line, "\n");
  }
  return text;
}

Facts read(const std::string& text) {
  Facts facts;
  std::istringstream lines(text);
  for (std::string key, value; std::getline(lines, key) && std::getline(lines, value);) {
    facts[key] = value;
  }
  return facts;
}

bool all_agree(Communicator& communicator, const std::string& text) {
  const std::uint64_t own = digest_of(std::as_bytes(std::span(text)));
  const std::vector<std::byte> bytes = communicator.allgather(std::as_bytes(std::span(&own, 1)));
  for (std::size_t i = 0; i < bytes.size(); i += sizeof own) {
    if (std::memcmp(bytes.data() + i, &own, sizeof own) != 0) {
      return false;
    }
  }
  return true;
}

/// "--lr: 0.1 on rank 0; 0.2 on rank 1", or nothing where all ranks hold the same.
std::string difference(const std::string& key, const std::vector<Facts>& of_ranks) {
  std::map<std::string, std::vector<int>> holders;
  for (std::size_t rank = 0; rank < of_ranks.size(); ++rank) {
    const auto found = of_ranks[rank].find(key);
    holders[found == of_ranks[rank].end() ? "(nothing)" : found->second].push_back(static_cast<int>(rank));
  }
  if (holders.size() == 1) {
    return "";
  }
  std::string text = "\n  " + key + ":";
  for (const auto& [value, ranks] : holders) {
    text += concat(" '", value, "' on rank", ranks.size() > 1 ? "s " : " ", joined(ranks), ";");
  }
  text.pop_back();
  return text;
}

}  // namespace

void together(Communicator& communicator, const std::function<void()>& work) {
  std::string failure;  // empty, or the error's kind and message
  try {
    work();
  } catch (const Error& error) {
    failure = concat(static_cast<int>(error.kind()), " ", error.what());
  } catch (const std::exception& error) {
    failure = concat(static_cast<int>(ErrorKind::io), " ", message_of(error));
  }
  // A double is enough to tell whether there is anything to tell.
  std::array<double, 1> failed{failure.empty() ? 0.0 : 1.0};
  communicator.allreduce_sum(failed);
  if (failed[0] == 0.0) {
    return;
  }
  const std::vector<std::string> failures = allgather_texts(communicator, failure);
  const auto first =
      std::find_if(failures.begin(), failures.end(), [](const auto& text) { return !text.empty(); });
  std::istringstream fields(*first);
  int kind = 0;
  fields >> kind;
  fields.get();
  std::string message;
  std::getline(fields, message, '\0');
  if (failed[0] < communicator.world_size()) {
    message = concat("rank ", first - failures.begin(), ": ", message);
  }
  throw SharedError(static_cast<ErrorKind>(kind), message);
}

std::string differences(Communicator& communicator, const Facts& facts) {
  const std::string own = written(facts);
  if (all_agree(communicator, own)) {
    return "";
  }
  std::vector<Facts> of_ranks;
  Facts every_key;
  for (const auto& text : allgather_texts(communicator, own)) {
    of_ranks.push_back(read(text));
    every_key.insert(of_ranks.back().begin(), of_ranks.back().end());
  }
  std::string lines;
  for (const auto& [key, value] : every_key) {
    lines += difference(key, of_ranks);
  }
  return lines;
}

std::vector<int> dissenters(Communicator& communicator, const std::string& text) {
  const std::vector<std::string> texts = allgather_texts(communicator, text);
  const auto most = std::ranges::find_if(
      texts, [&](const std::string& one) { return 2 * std::ranges::count(texts, one) > std::ssize(texts); });
  std::vector<int> ranks;
  for (std::size_t rank = 0; most != texts.end() && rank < texts.size(); ++rank) {
    if (texts[rank] != *most) {
      ranks.push_back(static_cast<int>(rank));
    }
  }
  return ranks;
}

void require_agreement(Communicator& communicator, const Facts& facts) {
  const std::string lines = differences(communicator, facts);
  if (!lines.empty()) {
    throw SharedError(ErrorKind::disagreement,
                      concat("the ranks were not started alike:", lines,
                             "\nStart all of them with the same program, options and data."));
  }
}

}  // namespace slicereduce
