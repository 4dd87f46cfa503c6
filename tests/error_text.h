#pragma once

#include <string>

namespace lowbank::testing {

/// what() of the `Error` that the call throws; "no error" if it throws none. Other exceptions are
/// not caught and fail the test.
template <class Error, class Call>
std::string error_text(Call call) {
  try {
    call();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

}  // namespace lowbank::testing
