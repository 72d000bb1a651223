// Where the values of a line's fields go: one place that knows which field fills what.
#ifndef TANDEM_COORDINATOR_IO_PARSED_FIELDS_H_
#define TANDEM_COORDINATOR_IO_PARSED_FIELDS_H_

#include <bitset>
#include <cstdint>
#include <string>
#include <vector>

#include "coordinator/io/request.h"
#include "coordinator/io/request_fields.h"

namespace tandem {

// A request, and what of an OpenAI batch line is no part of one.
struct ParsedFields {
  Request request;
  std::bitset<kNumFields> given;  // Not null.
  std::string custom_id;
  std::string method;
  std::string url;
  std::string model;
  std::string encoding_format;
  int32_t max_completion_tokens = 0;
  int32_t top_logprobs = 0;
  int32_t dimensions = 0;
  bool chat_logprobs = false;

  bool Given(Field field) const { return given[static_cast<size_t>(field)]; }
};

// Each is called for fields of that type alone, with values that were checked against the table.
void StoreInteger(Field field, int64_t value, ParsedFields* out);
void StoreNumber(Field field, double value, ParsedFields* out);
void StoreBoolean(Field field, bool value, ParsedFields* out);
void StoreString(Field field, std::string value, ParsedFields* out);

// The list that an array fills; null: none. An array that begins replaces what the defaults gave.
std::vector<int32_t>* TokenIdsOf(Field field, ParsedFields* out);
std::vector<std::string>* StringsOf(Field field, ParsedFields* out);
void BeginList(Field field, ParsedFields* out);

// A request that gave no seed gets its derived one; its id is known.
void FillSeed(const RequestDefaults& defaults, Request* request);

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_IO_PARSED_FIELDS_H_
