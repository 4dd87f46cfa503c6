#include "report/report_stage.h"

int main(int argc, char** argv) {
  return lowbank::run_stage<lowbank::ReportConfig>(argc, argv, lowbank::report_stage);
}
