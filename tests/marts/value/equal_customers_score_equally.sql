-- No two customers with the same value have different scores.
{%- for score, value in [
    ('recency_score', 'recency_days'),
    ('frequency_score', 'frequency'),
    ('monetary_score', 'monetary_amount'),
] %}
select
    '{{ score }}' as score,
    cast({{ value }} as double) as value
from {{ ref('rfm') }}
group by {{ value }}
having count(distinct {{ score }}) > 1
{{ 'union all' if not loop.last }}
{%- endfor %}
