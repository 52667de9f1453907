{%- set z = 1.959963984540054 -%}
with times as (
    select
        times.*,
        segments.*
    from {{ ref('survival_times') }} as times
    inner join {{ ref('customer_segments') }} as segments
        on times.customer_id = segments.customer_id
),

by_day as (
    {%- for segment_type, segment in perennial.segment_types() %}
    select
        curve,
        '{{ segment_type }}' as segment_type,
        {{ segment }} as segment,
        n_days,
        count_if(has_happened) as n_events,
        count_if(not has_happened) as n_censored
    from times
    group by all
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

-- Who was watched for as long, or longer.
at_risk as (
    select
        *,
        sum(n_events + n_censored) over (
            partition by curve, segment_type, segment
            order by n_days desc nulls last
        ) as n_at_risk
    from by_day
),

-- E. L. Kaplan and P. Meier, "Nonparametric estimation from incomplete observations", JASA 53,
-- 1958, as a sum of logarithms; where all who are left go at once, nothing survives. The
-- variance of that sum is M. Greenwood's, 1926. Sums over decimals are equal in any order; one
-- of a million is 1e-12 in Greenwood's, which twelve places would round away.
products as (
    select
        *,
        sum({{ perennial.exact(
            'case when n_events < n_at_risk then'
            ~ ' ln(1 - cast(n_events as double) / n_at_risk) end'
        ) }}) over earlier as log_survival,
        sum({{ perennial.exact(
            'case when n_events < n_at_risk then 1e9 * n_events'
            ~ ' / (cast(n_at_risk as double) * (n_at_risk - n_events)) end'
        ) }}) over earlier as greenwood_by_1e9,
        bool_or(n_events = n_at_risk) over earlier as is_over
    from at_risk
    window earlier as (
        partition by curve, segment_type, segment
        order by n_days nulls last
        rows between unbounded preceding and current row
    )
),

curves as (
    select
        *,
        case
            when is_over then 0.0
            else exp(cast(coalesce(log_survival, 0) as double))
        end as survival,
        -- Bounds on the scale of log(-log S), so that they stay between 0 and 1.
        case
            when not is_over and log_survival < 0
                then
                    {{ z }} * sqrt(cast(greenwood_by_1e9 as double) / 1e9)
                    / -cast(log_survival as double)
        end as log_log_error
    from products
)

select
    cast(curve as string) as curve,
    cast(segment_type as string) as segment_type,
    cast(segment as string) as segment,
    cast(n_days as integer) as n_days,
    cast(n_at_risk as bigint) as n_at_risk,
    cast(n_events as bigint) as n_events,
    cast(n_censored as bigint) as n_censored,
    cast(survival as double) as survival,
    cast(power(survival, exp(log_log_error)) as double) as survival_low,
    cast(power(survival, exp(-log_log_error)) as double) as survival_high
from curves
