;; A component that imports a stream, which only asynchronous components have.
(component
  (type $s (stream u8))
  (core func $new (canon stream.new $s))
  (core module $m (import "" "new" (func (result i64))))
  (core instance (instantiate $m (with "" (instance (export "new" (func $new)))))))
