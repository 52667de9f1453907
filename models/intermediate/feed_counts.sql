with counted as (
    {%- for table in perennial.feed_moments() %}
    {{ perennial.feed_counts(table) }}
    {{- '\n    union all' if not loop.last }}
    {%- endfor %}
)

select
    table_name,
    measure,
    day_on,
    cast(coalesce(n_part, 0) as bigint) as n_part,
    cast(coalesce(n_whole, 0) as bigint) as n_whole
from counted
