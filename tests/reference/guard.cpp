// A CUDA device guard that does nothing: one device, one stream, nothing to switch.
//
// Autograd asks the registered guard of a tensor's device to select the device and to count devices before every
// backward node. PyTorch without CUDA has no such guard, PyTorch with CUDA but without a GPU has one that fails.
// Loaded after torch, this one takes its place, so that fake CUDA tensors can be trained on any machine.
#include <c10/core/impl/DeviceGuardImplInterface.h>

namespace {

using c10::Device;
using c10::DeviceType;
using c10::Stream;

struct NoDeviceGuard final : c10::impl::DeviceGuardImplInterface {
    DeviceType type() const override { return DeviceType::CUDA; }
    c10::DeviceIndex deviceCount() const noexcept override { return 1; }

    Device getDevice() const override { return Device(DeviceType::CUDA, 0); }
    Device exchangeDevice(Device) const override { return getDevice(); }
    void setDevice(Device) const override {}
    void uncheckedSetDevice(Device) const noexcept override {}

    Stream getStream(Device device) const noexcept override { return Stream(Stream::DEFAULT, device); }
    Stream getDefaultStream(Device device) const override { return Stream(Stream::DEFAULT, device); }
    Stream exchangeStream(Stream stream) const noexcept override { return stream; }

    void record(void **, const Stream &, const c10::DeviceIndex, const c10::EventFlag) const override {}
    void block(void *, const Stream &) const override {}
    bool queryEvent(void *) const override { return true; }
    void destroyEvent(void *, const c10::DeviceIndex) const noexcept override {}
};

NoDeviceGuard guard;
c10::impl::DeviceGuardImplRegistrar registrar(DeviceType::CUDA, &guard);

}  // namespace
