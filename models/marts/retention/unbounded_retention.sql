{{ perennial.retention_of_kind('unbounded', {'to_period': 'bigint'}) }}
