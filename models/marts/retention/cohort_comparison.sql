with cells as (
    select
        definition,
        segment_type,
        segment,
        period_number,
        cohort_start_on,
        retention_numerator,
        retention_denominator,
        lag(cohort_start_on) over cohorts as previous_cohort_start_on,
        lag(retention_numerator) over cohorts as previous_numerator,
        lag(retention_denominator) over cohorts as previous_denominator
    from {{ ref('retention') }}
    where is_mature
    window cohorts as (
        partition by definition, segment_type, segment, period_number
        order by cohort_start_on nulls last
    )
),

rates as (
    select
        *,
        cast(retention_numerator as double) / retention_denominator as retention_rate,
        cast(previous_numerator as double) / previous_denominator
            as previous_retention_rate,
        retention_numerator + previous_numerator as n_retained,
        retention_denominator + previous_denominator as n_customers,
        cast(retention_numerator + previous_numerator as double)
        / (retention_denominator + previous_denominator) as pooled_rate
    from cells
    where previous_cohort_start_on is not null
),

-- The test of two proportions by their pooled rate holds from five who came back and five who
-- did not on, as they were to be expected in each cohort.
tests as (
    select
        *,
        case
            when
                -- In whole numbers: 25 times a fifth is less than 5 in floats.
                least(n_retained, n_customers - n_retained)
                * least(retention_denominator, previous_denominator)
                >= 5 * n_customers
                then
                    (retention_rate - previous_retention_rate)
                    / sqrt(
                        pooled_rate * (1 - pooled_rate)
                        * (
                            1 / cast(retention_denominator as double)
                            + 1 / cast(previous_denominator as double)
                        )
                    )
        end as z
    from rates
),

p_values as (
    select
        *,
        2 * {{ perennial.normal_tail('abs(z)') }} as p_value
    from tests
),

-- Of many comparisons some look large by chance: Y. Benjamini and Y. Hochberg, "Controlling
-- the false discovery rate", JRSS B 57, 1995, over all tests of the table.
ranked as (
    select
        *,
        row_number() over (
            order by
                p_value asc nulls last,
                definition asc nulls last,
                segment_type asc nulls last,
                segment asc nulls last,
                period_number asc nulls last,
                cohort_start_on asc nulls last
        ) as place,
        count(p_value) over () as n_tests
    from p_values
),

adjusted as (
    select
        *,
        case
            when p_value is not null
                then min(p_value * n_tests / place) over (
                    order by place desc nulls last
                    rows between unbounded preceding and current row
                )
        end as q_value
    from ranked
)

select
    cast(definition as string) as definition,
    cast(segment_type as string) as segment_type,
    cast(segment as string) as segment,
    cast(period_number as bigint) as period_number,
    cast(cohort_start_on as date) as cohort_start_on,
    cast(previous_cohort_start_on as date) as previous_cohort_start_on,
    cast(retention_numerator as bigint) as retention_numerator,
    cast(retention_denominator as bigint) as retention_denominator,
    cast(retention_rate as double) as retention_rate,
    cast(previous_retention_rate as double) as previous_retention_rate,
    cast(retention_rate - previous_retention_rate as double) as difference,
    cast(p_value as double) as p_value,
    cast(q_value as double) as q_value,
    cast(q_value < 0.05 as boolean) as is_more_than_noise
from adjusted
