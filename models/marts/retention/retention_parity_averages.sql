with sums as (
    select
        parity.rule_set,
        parity.vendor,
        parity.is_default,
        parity.kind,
        vendors.average,
        parity.activity,
        parity.period_grain,
        parity.period_number,
        count(parity.retention_numerator) as n_cohorts,
        coalesce(sum(parity.retention_denominator), 0) as n_customers,
        coalesce(sum(parity.retention_numerator), 0) as n_retained,
        sum(parity.retention_numerator) as pooled_numerator,
        sum(parity.retention_denominator) as pooled_denominator,
        sum(parity.retention_denominator * parity.retention_numerator)
            as weighted_numerator,
        sum(parity.retention_denominator * parity.retention_denominator)
            as weighted_denominator,
        sum({{ perennial.exact('parity.retention_rate') }}) as simple_numerator,
        nullif(count(parity.retention_rate), 0) as simple_denominator
    from {{ ref('retention_parity') }} as parity
    inner join {{ ref('retention_vendors') }} as vendors
        on parity.rule_set = vendors.rule_set
    group by all
),

averages as (
    {%- for rule in ['pooled', 'weighted', 'simple'] %}
    select
        sums.*,
        '{{ rule }}' as average_rule,
        cast({{ rule }}_numerator as double) as numerator,
        cast({{ rule }}_denominator as double) as denominator
    from sums
    {{ 'union all' if not loop.last }}
    {%- endfor %}
)

select
    cast(rule_set as string) as rule_set,
    cast(vendor as string) as vendor,
    cast(is_default as boolean) as is_default_rule_set,
    cast(kind as string) as kind,
    cast(activity as string) as activity,
    cast(period_grain as string) as period_grain,
    cast(period_number as bigint) as period_number,
    cast(average_rule as string) as average_rule,
    cast(average_rule = average as boolean) as is_default,
    cast(n_cohorts > 0 as boolean) as is_mature,
    cast(n_cohorts as bigint) as n_cohorts,
    cast(n_customers as bigint) as n_customers,
    cast(n_retained as bigint) as n_retained_customers,
    cast(numerator as double) as average_numerator,
    cast(denominator as double) as average_denominator,
    cast(numerator / denominator as double) as average_rate,
    -- Of a mean of cohorts that weighs customers unequally it would not hold.
    cast(
        case
            when
                average_rule = 'pooled'
                then {{ perennial.wilson('low', 'n_retained', 'n_customers') }}
        end as double
    ) as average_rate_low,
    cast(
        case
            when
                average_rule = 'pooled'
                then {{ perennial.wilson('high', 'n_retained', 'n_customers') }}
        end as double
    ) as average_rate_high
from averages
