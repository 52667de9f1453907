{{ perennial.retention_of_kind(
    'bracket', {'from_period': 'bigint', 'to_period': 'bigint'}
) }}
