"""The contracts every other room keeps: types, Avro schemas, topics and outcomes. Imports none of them."""
