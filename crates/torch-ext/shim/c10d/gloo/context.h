// Stands in for Gloo's headers, which libtorch's package lacks although a header of its own includes them. These are
// the names that it uses, as declarations: libtorch_cpu has the code. Objects of them are made and destroyed there.
#pragma once

#include <chrono>
#include <exception>
#include <memory>
#include <string>
#include <vector>

namespace gloo {

namespace transport {

class Device;
class UnboundBuffer;

class Pair {
 public:
  virtual ~Pair() = 0;
};

namespace tcp {
class Pair : public transport::Pair {
 public:
  ~Pair() override;
  // Closes the connection; operations that use it fail with this message. Returns the first failure.
  std::exception_ptr signalExceptionExternal(const std::string& message);
};
}  // namespace tcp

}  // namespace transport

class Context {
 public:
  void setTimeout(std::chrono::milliseconds timeout);
  // The connection with a rank; NULL with this process itself.
  std::unique_ptr<transport::Pair>& getPair(int rank);
};

namespace rendezvous {
class Store {
 public:
  virtual ~Store();
  virtual void set(const std::string& key, const std::vector<char>& value) = 0;
  virtual std::vector<char> get(const std::string& key) = 0;
  virtual void wait(const std::vector<std::string>& keys) = 0;
  virtual void wait(
      const std::vector<std::string>& keys, const std::chrono::milliseconds& timeout) = 0;
};
}  // namespace rendezvous

}  // namespace gloo
