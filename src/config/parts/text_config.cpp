#include "config/parts/text_config.h"

#include "config/parts/shared_fields.h"

namespace lowbank {

Fields TextDataConfig::fields() const {
  return {Field("train", &train, "text to learn from, UTF-8").input(),
          Field("valid", &valid, "held-out text, UTF-8").input(),
          Field("context", &context, "length of an example")
              .at_least(2)
              .at_most(kMaxContext)
              .unit("tokens")};
}

}  // namespace lowbank
