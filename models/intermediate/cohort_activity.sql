{%- call perennial.touched() %}
    select
        split_part(period, ' ', 1) as grain,
        cast(split_part(period, ' ', 2) as date) as period_start_on
    from ({{ perennial.changes('customer_periods', 'period') }}) as periods
{%- endcall %}
with periods as (
    select *
    from {{ ref('customer_periods') }}
    {{ perennial.touched_only('grain, period_start_on') }}
)

{%- for segment_type in ['all', 'country', 'channel', 'first_category'] %}
select
    grain,
    '{{ segment_type }}' as segment_type,
    {{ "'all'" if segment_type == 'all' else segment_type }} as segment,
    cohort_start_on,
    period_start_on,
    period_number,
    cast(count_if(is_active) as bigint) as n_active_customers,
    cast(sum(n_orders) as bigint) as n_orders,
    cast({{ perennial.complete_sum('revenue_amount') }} as decimal(18, 2))
        as revenue_amount
from periods
group by all
{{ 'union all' if not loop.last }}
{%- endfor %}
