;; A component that imports an interface of WASI that the host of connectors does not support.
(component
  (import "wasi:keyvalue/store@0.2.0-draft" (instance (export "open-default" (func (result u64))))))
