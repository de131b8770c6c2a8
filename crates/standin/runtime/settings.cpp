// Settings and the journal.
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <sstream>

#include "standin.h"

namespace standin {
namespace {

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

uint64_t number(const std::string& text) { return std::strtoull(text.c_str(), nullptr, 10); }

// `name|8.6|bytes`.
Card card(const std::string& text) {
  const auto parts = split(text, '|');
  Card card;
  if (parts.size() != 3) return card;
  card.name = parts[0];
  std::sscanf(parts[1].c_str(), "%d.%d", &card.major, &card.minor);
  card.total_bytes = number(parts[2]);
  return card;
}

// Numbers in a list; as in CUDA, the first one that is no card ends it.
std::vector<int> visible(size_t num_cards) {
  std::vector<int> all;
  const char* text = std::getenv("CUDA_VISIBLE_DEVICES");
  if (!text) {
    for (size_t index = 0; index < num_cards; ++index) all.push_back(static_cast<int>(index));
    return all;
  }
  for (const auto& part : split(text, ',')) {
    char* end = nullptr;
    const long index = std::strtol(part.c_str(), &end, 10);
    if (end == part.c_str() || index < 0 || static_cast<size_t>(index) >= num_cards) break;
    all.push_back(static_cast<int>(index));
  }
  return all;
}

Settings read() {
  Settings settings;
  const char* text = std::getenv("SNUG_STANDIN");
  for (const auto& pair : split(text ? text : "", ';')) {
    const auto equals = pair.find('=');
    if (equals == std::string::npos) continue;
    const auto key = pair.substr(0, equals), value = pair.substr(equals + 1);
    if (key == "card") settings.cards.push_back(card(value));
    if (key == "context") settings.context_bytes = number(value);
    if (key == "driver") settings.driver = static_cast<int>(number(value));
    if (key == "virtual-memory") settings.maps_memory = value != "off";
    if (key == "slow") settings.wait_ms = static_cast<unsigned>(number(value));
    if (key == "graphs") settings.records_graphs = value != "off";
    if (key == "others") settings.others = value;
    if (key == "journal") settings.journal = value;
    if (key == "fail-allocation") settings.fail_first = number(value);
    if (key == "fail-count") settings.fail_count = number(value);
    if (key == "break-at-launch") settings.break_at_launch = number(value);
    if (key == "replay-first") settings.replay_first = number(value);
    if (key == "replay-count") settings.replay_count = number(value);
    if (key == "crowd") settings.crowd_bytes = number(value);
    if (key == "number-read") settings.has_reads = true, settings.number_read = std::strtof(value.c_str(), nullptr);
    if (key == "pair-read") settings.pair_read = std::strtoll(value.c_str(), nullptr, 10);
    if (key == "values") settings.has_values = true, settings.runs_kernels = value == "on";
    if (key == "workspaces") settings.workspaces = value;
  }
  settings.visible = visible(settings.cards.size());
  return settings;
}

}  // namespace

const Settings& settings() {
  // Never destroyed: threads of libtorch may ask while the process ends.
  static const Settings& settings = *new Settings(read());
  return settings;
}

void journal(const char* format, ...) {
  static std::mutex& lock = *new std::mutex;
  static FILE* file = settings().journal.empty() ? nullptr : std::fopen(settings().journal.c_str(), "a");
  if (!file) return;
  const std::lock_guard<std::mutex> guard(lock);
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(file, format, arguments);
  va_end(arguments);
  std::fputc('\n', file);
  std::fflush(file);
}

}  // namespace standin
