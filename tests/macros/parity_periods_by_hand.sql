{#-
Of a start and a return, both UTC: the period by calendar, own dates, own dates with months of 30
days, moments and hours. What 'Amplitude' and 'Mixpanel' are called are the examples in their
pages "How time works in a retention analysis" and "Retention". In which week of the calendar a day
lies depends on a setting.
-#}
{%- set cases = [
    ('23 hours after 11:00', 'day', '2024-01-10 11:30:00', '2024-01-11 10:59:00', 1, 1, 1, 0, 0),
    ('24 hours after 11:00', 'day', '2024-01-10 11:30:00', '2024-01-11 11:05:00', 1, 1, 1, 0, 1),
    ('24 hours', 'day', '2024-01-10 11:30:00', '2024-01-11 11:30:00', 1, 1, 1, 1, 1),
    ('just before', 'day', '2024-01-10 11:30:00', '2024-01-12 11:29:59.999999', 2, 2, 2, 1, 2),
    ('Amplitude 1', 'day', '2021-12-01 17:59:00', '2021-12-02 17:00:00', 1, 1, 1, 0, 1),
    ('a minute less', 'day', '2021-12-01 17:59:00', '2021-12-02 16:59:00', 1, 1, 1, 0, 0),
    ('Mixpanel, day', 'day', '2024-01-08 20:00:00', '2024-01-09 06:00:00', 1, 1, 1, 0, 0),
    ('Amplitude 2', 'week', '2021-12-01 12:00:00', '2021-12-06 12:00:00', 'null', 0, 0, 0, 0),
    ('the 8th', 'week', '2021-12-01 12:00:00', '2021-12-08 00:00:00', 'null', 1, 1, 0, 0),
    ('7 days', 'week', '2021-12-01 12:00:00', '2021-12-08 12:00:00', 'null', 1, 1, 1, 1),
    ('the 14th', 'week', '2021-12-01 12:00:00', '2021-12-14 23:00:00', 'null', 1, 1, 1, 1),
    ('the 15th', 'week', '2021-12-01 12:00:00', '2021-12-15 00:00:00', 'null', 2, 2, 1, 1),
    ('Mixpanel, week', 'week', '2024-01-05 12:00:00', '2024-01-08 12:00:00', 'null', 0, 0, 0, 0),
    ('Mixpanel, month', 'month', '2023-02-25 12:00:00', '2023-03-03 12:00:00', 1, 0, 0, 0, 0),
    ('Amplitude 3', 'month', '2021-12-06 12:00:00', '2021-12-12 12:00:00', 0, 0, 0, 0, 0),
    ('the 31st', 'month', '2024-01-01 12:00:00', '2024-01-31 11:00:00', 0, 0, 1, 0, 0),
    ('30 days', 'month', '2024-01-01 12:00:00', '2024-01-31 12:00:00', 0, 0, 1, 1, 1),
    ('31 days', 'month', '2024-01-01 12:00:00', '2024-02-01 00:00:00', 1, 1, 1, 1, 1),
    ('not yet 29', 'month', '2024-01-31 12:00:00', '2024-02-28 12:00:00', 1, 0, 0, 0, 0),
    ('the last day', 'month', '2024-01-31 12:00:00', '2024-02-29 00:00:00', 1, 1, 0, 0, 0),
    ('30 days again', 'month', '2024-01-31 12:00:00', '2024-03-01 13:00:00', 2, 1, 1, 1, 1),
    ('a year less a day', 'month', '2024-01-15 12:00:00', '2025-01-14 12:00:00', 12, 11, 12, 12, 12)
] -%}
{%- set windows = ['calendar', 'own_days', 'own_30_days', 'moments', 'hours'] -%}
with cases as (
    {%- for case in cases %}
    select
        '{{ case[0] }}' as example,
        '{{ case[1] }}' as grain,
        timestamp '{{ case[2] }}' as started_at,
        cast(timestamp '{{ case[2] }}' as date) as started_on,
        timestamp '{{ case[3] }}' as occurred_at,
        cast(timestamp '{{ case[3] }}' as date) as occurred_on,
        {{ case[4] }} as calendar,
        {{ case[5] }} as own_days,
        {{ case[6] }} as own_30_days,
        {{ case[7] }} as moments,
        {{ case[8] }} as hours
    {{ 'union all' if not loop.last }}
    {%- endfor %}
)

select *
from cases
where
    not coalesce(
        {%- for grain in ['day', 'week', 'month'] %}
        {%- set outer = loop %}
        {%- for name in windows %}
        {{ 'and ' if not (outer.first and loop.first) }}(
            grain <> '{{ grain }}'
            or {{ name }} is null
            or {{ name }} = {{ perennial.parity_period(
                grain, name, 'started_at', 'started_on', 'occurred_at', 'occurred_on'
            ) }}
        )
        {%- endfor %}
        {%- endfor %},
        false
    )
