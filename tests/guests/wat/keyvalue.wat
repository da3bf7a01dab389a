;; A component that imports an interface of WASI that hosts of connectors do not have.
(component
  (import "wasi:keyvalue/store@0.2.0-draft" (instance (export "open-default" (func (result u64))))))
