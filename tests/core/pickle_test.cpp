#include "core/pickle.hpp"

#include <gtest/gtest.h>

#include <string>

#include "core/error.hpp"
#include "core/text.hpp"
#include "tests/support/little_endian.hpp"

namespace slicereduce {
namespace {

std::vector<std::byte> bytes_of(const std::string& text) {
  const auto* begin = reinterpret_cast<const std::byte*>(text.data());
  return {begin, begin + text.size()};
}

// Literals with zero bytes in them keep their length.
template <std::size_t size>
std::string raw(const char (&literal)[size]) {
  return {literal, size - 1};
}

std::string protocol2(const std::string& body) { return raw("\x80\x02") + body + "."; }

std::string refusal(const std::string& pickle) {
  try {
    Pickle(bytes_of(pickle), "f.pt");
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    EXPECT_TRUE(std::string(error.what()).starts_with("f.pt: ")) << error.what();
    return error.what();
  }
  return "(accepted)";
}

using testing::little_endian;

// concat, because g++ 12 warns of its own operator+ where a literal comes first.
std::string int32(std::int32_t value) { return concat('J', little_endian(value)); }
std::string int64(std::int64_t value) { return concat("\x8a\x08", little_endian(value)); }
std::string text(const std::string& content) {
  return concat('X', little_endian(static_cast<std::uint32_t>(content.size())), content);
}

std::string storage(std::int64_t numel) {
  return concat('(', text("storage"), "ctorch\nFloatStorage\n", text("0"), text("cpu"), int64(numel), "tQ");
}
std::string tensor(std::int64_t numel, std::int64_t offset, const std::string& sizes,
                   const std::string& strides) {
  return protocol2(concat("ctorch._utils\n_rebuild_tensor_v2\n(", storage(numel), int64(offset), '(', sizes,
                          "t(", strides, "t\x89", "ccollections\nOrderedDict\n)RtR"));
}

template <typename T>
T root_of(const std::string& body) {
  return std::get<T>(Pickle(bytes_of(protocol2(body)), "f.pt").root());
}

TEST(Pickle, ReadsNumbers) {
  EXPECT_EQ(root_of<std::int64_t>(raw("K\xff")), 255);
  EXPECT_EQ(root_of<std::int64_t>(raw("M\x01\x02")), 513);
  EXPECT_EQ(root_of<std::int64_t>(int32(-2)), -2);
  EXPECT_EQ(root_of<std::int64_t>(raw("\x8a\x00")), 0);
  EXPECT_EQ(root_of<std::int64_t>(raw("\x8a\x01\xfe")), -2);
  EXPECT_EQ(root_of<std::int64_t>(int64(INT64_MIN)), INT64_MIN);
  EXPECT_EQ(root_of<double>(raw("G\x3f\xf8\x00\x00\x00\x00\x00\x00")), 1.5);
  EXPECT_TRUE(root_of<bool>(raw("\x88")));
}

TEST(Pickle, ReadsContainersAndWhatIsSharedInThem) {
  const Pickle pickle(bytes_of(protocol2(raw("}q\x00(") + text("a") + raw("]q\x01(K\x01K\x02") + "e" +
                                         text("b") + raw("h\x01") + "u")),
                      "f.pt");
  const auto& dict = *std::get<const PickleDict*>(pickle.root());
  const auto* a = std::get<const PickleList*>(dict.find("a"));
  EXPECT_EQ(a->items.size(), 2U);
  EXPECT_EQ(std::get<const PickleList*>(dict.find("b")), a);
  EXPECT_TRUE(std::holds_alternative<std::monostate>(dict.find("c")));
}

TEST(Pickle, ReadsTheAttributesOfAnOrderedDictAway) {
  const Pickle pickle(
      bytes_of(protocol2("ccollections\nOrderedDict\n)R" + text("k") + "Ns}" + text("_metadata") + "Nsb")),
      "f.pt");
  EXPECT_EQ(std::get<const PickleDict*>(pickle.root())->items.size(), 1U);
}

TEST(Pickle, ReadsTensors) {
  const Pickle pickle(bytes_of(tensor(100, 4, int32(2) + int32(3), int32(10) + int32(2))), "f.pt");
  const auto& view = *std::get<const PickledTensor*>(pickle.root());
  EXPECT_EQ(view.storage.key, "0");
  EXPECT_EQ(view.storage.dtype, c10::ScalarType::Float);
  EXPECT_EQ(view.offset, 4);
  EXPECT_EQ(view.extent, 15);
  EXPECT_EQ(view.sizes, (std::vector<std::int64_t>{2, 3}));
}

TEST(Pickle, RefusesTensorsThatReachOutOfTheirStorage) {
  const std::string outside = "reaches outside of its storage";
  const auto refused = [&](const std::string& pickle) {
    return refusal(pickle).find(outside) != std::string::npos;
  };
  EXPECT_EQ(refusal(tensor(6, 0, int32(6), int32(1))), "(accepted)");
  EXPECT_EQ(refusal(tensor(6, 6, int32(0), int32(1))), "(accepted)");
  EXPECT_TRUE(refused(tensor(6, 0, int32(7), int32(1))));
  EXPECT_TRUE(refused(tensor(6, 1, int32(6), int32(1))));
  EXPECT_TRUE(refused(tensor(6, 0, int32(4), int32(2))));
  EXPECT_TRUE(refused(tensor(6, -1, int32(2), int32(1))));
  EXPECT_TRUE(refused(tensor(6, 7, int32(0), int32(1))));
  EXPECT_TRUE(refused(tensor(6, 0, int32(-1), int32(1))));
  EXPECT_TRUE(refused(tensor(6, 5, int32(6), int32(-1))));
  EXPECT_TRUE(refused(tensor(INT64_MAX, 0, int64(INT64_MAX), int32(1))));
  EXPECT_TRUE(refused(
      tensor(6, 0, int64(std::int64_t{1} << 32) + int64(std::int64_t{1} << 32), int32(0) + int32(0))));
  EXPECT_TRUE(refused(tensor(6, 0, int32(3) + int32(1), int64(INT64_MAX) + int32(1))));
  EXPECT_TRUE(refused(tensor(6, INT64_MAX, int32(2), int32(1))));
}

TEST(Pickle, RefusesOtherWrongTensors) {
  EXPECT_NE(refusal(tensor(6, 0, int32(6), "")).find("impossible number"), std::string::npos);
  EXPECT_NE(refusal(tensor(-1, 0, int32(0), int32(1))).find("unknown way"), std::string::npos);
  EXPECT_NE(refusal(tensor(6, 0, text("x"), int32(1))).find("sizes"), std::string::npos);
}

TEST(Pickle, RefusesGlobalsByName) {
  EXPECT_NE(refusal(protocol2("cos\nsystem\n(" + text("true") + "tR")).find("os system"), std::string::npos);
  EXPECT_NE(refusal(protocol2("cbuiltins\neval\n")).find("builtins eval"), std::string::npos);
  EXPECT_NE(refusal(protocol2("ctorch\nComplexFloatStorage\n")).find("torch ComplexFloatStorage"),
            std::string::npos);
  // Names are shown without what a terminal would obey.
  EXPECT_EQ(refusal(protocol2("c\x1b[2J\nx\n")).find('\x1b'), std::string::npos);
}

TEST(Pickle, RefusesInstructionsThatRunCode) {
  for (const std::string body : {"(ios\nsystem\n", "N)\x81", "cos\nsystem\no", "\x82\x01"}) {
    EXPECT_NE(refusal(protocol2(body)), "(accepted)") << body;
  }
  EXPECT_NE(refusal(raw("\x80\x04N.")).find("protocol 2"), std::string::npos);
}

TEST(Pickle, RefusesWhatIsMalformed) {
  for (const std::string& body : {std::string(),
                                  std::string("("),
                                  std::string("(N"),
                                  std::string("NN"),
                                  std::string("t"),
                                  std::string("e"),
                                  std::string("]a"),
                                  std::string("Na"),
                                  std::string("NNNu"),
                                  std::string("}(Nu"),
                                  std::string("}(]a"),
                                  raw("h\x07"),
                                  raw("j\x07\x00\x00\x00"),
                                  raw("q\x00"),
                                  raw("X\xff\xff\xff\xff"),
                                  raw("\x8a\xff"),
                                  raw("\x8a\x09\x01\x01\x01\x01\x01\x01\x01\x01\x01"),
                                  std::string("N\x87"),
                                  std::string("NQ"),
                                  std::string(")Q"),
                                  std::string("NNR"),
                                  std::string("NR"),
                                  std::string("ctorch\nFloatStorage\n)R"),
                                  std::string("]Nb"),
                                  std::string("ctorch\nSize\n)R"),
                                  std::string("ctorch._utils\n_rebuild_parameter\n)R"),
                                  std::string("ctorch._utils\n_rebuild_tensor_v2\n)R"),
                                  std::string("cno newline")}) {
    EXPECT_NE(refusal(protocol2(body)), "(accepted)") << ::testing::PrintToString(body);
  }
  EXPECT_NE(refusal(""), "(accepted)");
  EXPECT_NE(refusal(raw("\x80\x02N")), "(accepted)");
}

TEST(Pickle, TakesNoMoreMemoryThanItsFileIsWorth) {
  EXPECT_NE(refusal(protocol2(raw("]r\xff\xff\xff\x7f"))).find("out of order"), std::string::npos);
  std::string sizes;
  for (int i = 0; i < 9; ++i) {
    sizes += int64(1);
  }
  EXPECT_NE(refusal(tensor(1, 0, sizes, sizes)).find("impossible number of sizes"), std::string::npos);
}

TEST(Pickle, NestingAndCyclesDoNoHarm) {
  constexpr int kDepth = 1'000'000;
  EXPECT_EQ(refusal(protocol2(std::string(kDepth, ']') + std::string(kDepth - 1, 'a'))), "(accepted)");
  EXPECT_EQ(refusal(protocol2(raw("]q\x00h\x00") + "a")), "(accepted)");
}

}  // namespace
}  // namespace slicereduce
