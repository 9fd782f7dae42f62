// hived: the node daemon.
#include "runtime/node/daemon.hpp"

int main(int argc, char** argv) { return hive::node::run_daemon(argc, argv); }
