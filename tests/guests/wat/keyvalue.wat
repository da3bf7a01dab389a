;; A component with an import of WASI that the server does not support.
(component
  (import "wasi:keyvalue/store@0.2.0-draft" (instance (export "open-default" (func (result u64))))))
